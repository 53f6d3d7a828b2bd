package native

import (
	"fmt"
	"time"
)

// Status says what became of a request (section 2.4).
type Status uint8

// The statuses of version 1.
const (
	OK Status = iota
	Application
	NotFound
	Busy
	TooLarge
	DeadlineExceeded
	Cancelled
	Internal
	Draining
	Unimplemented
	BadRequest
	ResponseTooLarge
	Unauthenticated
	PermissionDenied
	NoSuchResource
)

// Failure is an answer that is no success. A handler returns one to choose what its client gets.
type Failure struct {
	Status Status
	// Code is the application's own number. Only with status Application.
	Code uint32
	// Message is for people.
	Message string
	// Detail is for programs.
	Detail     []byte
	RetryAfter time.Duration
	Meta       []Meta
	// Unprocessed says that surely no handler saw the request.
	Unprocessed bool
}

func (f *Failure) Error() string {
	return fmt.Sprintf("status %d, code %d: %s", f.Status, f.Code, f.Message)
}

// refused is an answer to a request that no handler has seen.
func refused(status Status, message string) *Failure {
	return &Failure{Status: status, Message: message, Unprocessed: true}
}

// frame is the RESPONSE that says this.
func (f *Failure) frame(id uint64) *frame {
	var w fieldWriter
	w.put(tagStatus, []byte{byte(f.Status)})
	if f.Status == Application {
		w.number(tagAppCode, f.Code)
	}
	if f.Message != "" {
		w.put(tagMessage, []byte(cut(f.Message, maxMessage)))
	}
	if f.RetryAfter > 0 {
		w.milliseconds(tagRetryAfter, f.RetryAfter)
	}
	if err := w.meta(f.Meta); err != nil {
		return refusedMeta.frame(id)
	}
	response := &frame{kind: Response, id: id, fields: w.Bytes(), body: f.Detail}
	if f.Unprocessed {
		response.flags |= Unprocessed
	}
	return response
}

// refusedMeta is the answer of a handler with metadata that do not fit.
var refusedMeta = &Failure{Status: Internal, Message: "the metadata of the answer do not fit"}

// readFailure is what a RESPONSE with a status says.
func readFailure(f *frame, read *fields) *Failure {
	failure := &Failure{
		Status:      read.status,
		Message:     read.message,
		Detail:      f.body,
		RetryAfter:  time.Duration(read.retryAfter) * time.Millisecond,
		Meta:        read.meta,
		Unprocessed: f.flags&Unprocessed != 0,
	}
	if read.status == Application {
		failure.Code = read.appCode
	}
	return failure
}
