package native

// balance is the credit of one direction (section 2.9).
type balance struct{ Bytes, Messages uint32 }

// add takes what a frame gives.
func (b *balance) add(bytes, messages *uint32) error {
	for _, sum := range []struct{ balance, more *uint32 }{{&b.Bytes, bytes}, {&b.Messages, messages}} {
		if sum.more == nil {
			continue
		}
		if uint64(*sum.balance)+uint64(*sum.more) > maxBalance {
			return broken("credit above %d", maxBalance)
		}
		*sum.balance += *sum.more
	}
	return nil
}

// spend takes the credit for the next part of a message, of which so many bytes are left, if there is enough.
// All parts but the last have at least 1024 bytes.
func (b *balance) spend(rest int, first bool) (int, bool) {
	if first && b.Messages == 0 || int(b.Bytes) < min(rest, minPart) {
		return 0, false
	}
	if first {
		b.Messages--
	}
	size := min(rest, maxPart, int(b.Bytes))
	b.Bytes -= uint32(size)
	return size, true
}

// inbox is what a call receives.
type inbox struct {
	window   Window
	maxBody  uint32
	granted  balance // What the peer may still send.
	due      balance // What the application has taken, and is not granted again yet.
	partial  *arriving
	whole    []arrived
	finished bool
	// discards is set when nobody wants messages any more.
	discards bool
}

// arriving is a message of which parts are missing.
type arriving struct {
	arrived
	length uint32 // Of all parts together.
	size   *uint32
	got    uint32
}

// arrived is a message, with how much credit it gives back when it is taken.
type arrived struct {
	Message
	bytes uint32
}

// receive takes a DATA frame.
func (i *inbox) receive(f *frame) (*Failure, error) {
	read, err := readFields(f)
	if err != nil {
		return nil, err
	}
	if read.unknown || f.flags&mandatory&^(Compressed|More) != 0 {
		return nil, broken("DATA with what this version does not know")
	}
	if i.finished {
		return nil, broken("DATA after FINISH")
	}
	length, more := uint32(len(f.body)), f.flags&More != 0
	if more && length < minPart {
		return nil, broken("a part of %d bytes", length)
	}
	if err := i.spend(length); err != nil {
		return nil, err
	}
	var failure *Failure
	if i.partial == nil {
		if failure, err = i.begin(f, &read); err != nil {
			return nil, err
		}
	} else if read.length != nil || read.size != nil || f.flags&Compressed != 0 {
		return nil, broken("a later part with what belongs to the first")
	}
	i.partial.got += length
	// Something is left for the last part, and nothing behind it.
	if i.partial.got > i.partial.length || more == (i.partial.got == i.partial.length) {
		return nil, broken("parts of %d bytes where %d were announced", i.partial.got, i.partial.length)
	}
	if failure != nil {
		i.discards = true
	}
	if !i.discards {
		i.partial.Body = append(i.partial.Body, f.body...)
	}
	if more {
		return failure, nil
	}
	whole := i.partial
	i.partial = nil
	if i.discards {
		return failure, nil
	}
	return i.keep(whole), nil
}

// spend takes the credit of one part.
func (i *inbox) spend(length uint32) error {
	if i.partial == nil {
		if i.granted.Messages == 0 {
			return broken("a message without credit")
		}
		i.granted.Messages--
	}
	if length > i.granted.Bytes {
		return broken("%d bytes where there is credit for %d", length, i.granted.Bytes)
	}
	i.granted.Bytes -= length
	return nil
}

// begin takes what the first part says of the whole message.
func (i *inbox) begin(f *frame, read *fields) (*Failure, error) {
	if (f.flags&More != 0) != (read.length != nil) {
		return nil, broken("LENGTH and MORE do not come together")
	}
	if err := checkPacked(f, read.size); err != nil {
		return nil, err
	}
	partial := &arriving{length: uint32(len(f.body)), size: read.size}
	partial.Cursor = read.cursor
	if read.length != nil {
		partial.length = *read.length
	}
	partial.bytes = partial.length
	i.partial = partial
	if partial.length > i.maxBody {
		return &Failure{Status: TooLarge, Message: "the message is too long"}, nil
	}
	// A message that is longer than the credit gets the rest at once, ahead of its being taken.
	rest := partial.length - min(partial.length, uint32(len(f.body)))
	if rest > i.granted.Bytes {
		ahead := rest - i.granted.Bytes
		i.due.Bytes += ahead
		partial.bytes -= ahead
	}
	return nil, nil
}

// keep makes a message of the parts.
func (i *inbox) keep(whole *arriving) *Failure {
	if whole.size != nil {
		body, failure := inflate(whole.Body, *whole.size, i.maxBody)
		if failure != nil {
			failure.Unprocessed = false
			return failure
		}
		whole.Body = body
	}
	i.whole = append(i.whole, whole.arrived)
	return nil
}

// take returns a whole message.
func (i *inbox) take() (Message, bool) {
	if len(i.whole) == 0 {
		return Message{}, false
	}
	first := i.whole[0]
	i.whole = i.whole[1:]
	i.due.Bytes += first.bytes
	i.due.Messages++
	return first.Message, true
}

// grant returns the credit that is to be sent now: when half of the window is used up, or when a message
// cannot arrive without it.
func (i *inbox) grant() (bytes, messages uint32) {
	if i.finished || i.discards {
		return 0, 0
	}
	half := i.due.Bytes >= i.window.Bytes-i.window.Bytes/2 || i.due.Messages >= i.window.Messages-i.window.Messages/2
	stuck := i.partial != nil && i.partial.length-i.partial.got > i.granted.Bytes
	if !half && !stuck || i.due == (balance{}) {
		return 0, 0
	}
	bytes, messages = i.due.Bytes, i.due.Messages
	i.granted.Bytes += bytes
	i.granted.Messages += messages
	i.due = balance{}
	return bytes, messages
}

// finish takes FINISH.
func (i *inbox) finish() error {
	if i.finished {
		return broken("FINISH after FINISH")
	}
	if i.partial != nil {
		return broken("FINISH between parts")
	}
	i.finished = true
	return nil
}
