package native

import (
	"bytes"
	"compress/flate"
	"io"
)

// maxRatio is how much longer a body may become when it is inflated (section 2.6).
const maxRatio = 128

// deflate returns the compressed body, or nil where that wins nothing or is not allowed.
func deflate(body []byte) []byte {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return nil
	}
	if _, err := w.Write(body); err != nil {
		return nil
	}
	if err := w.Close(); err != nil {
		return nil
	}
	if packed.Len() >= len(body) || len(body) > packed.Len()*maxRatio {
		return nil
	}
	return packed.Bytes()
}

// inflate returns a body of exactly that size. What is wrong is a failure of one request.
func inflate(packed []byte, size, maxBody uint32) ([]byte, *Failure) {
	if size > maxBody {
		return nil, refused(TooLarge, "the body is too long when it is inflated")
	}
	if uint64(size) > uint64(len(packed))*maxRatio {
		return nil, refused(BadRequest, "the body shrinks too far")
	}
	// One byte more, to learn of a body that does not end there.
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), int64(size)+1))
	if err != nil || len(body) != int(size) {
		return nil, refused(BadRequest, "the body does not inflate to its size")
	}
	return body, nil
}

// packed is what a frame that carries the body has.
func (w *fieldWriter) packed(body []byte, compress bool) ([]byte, Flags) {
	if compress {
		if smaller := deflate(body); smaller != nil {
			w.number(tagSize, uint32(len(body)))
			return smaller, Compressed
		}
	}
	return body, 0
}

// checkPacked says whether flag and field come together.
func checkPacked(f *frame, size *uint32) error {
	if (f.flags&Compressed != 0) != (size != nil) {
		return broken("COMPRESSED and SIZE do not come together")
	}
	return nil
}
