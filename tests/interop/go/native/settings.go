package native

import "sync"

// limits are what one side accepts (section 2.5).
type limits struct {
	maxBody, maxInFlight, maxCalls, features uint32
}

// peerLimits are those of the other side, which may change.
type peerLimits struct {
	mutex sync.Mutex
	limits
	known bool
}

func newPeerLimits() peerLimits {
	assumed := limits{defaultMaxBody, defaultMaxInFlight, defaultMaxCalls, 0}
	return peerLimits{limits: assumed}
}

func (p *peerLimits) get() (limits, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.limits, p.known
}

// read takes what a frame says.
func (p *peerLimits) read(f *frame) error {
	read, err := readFields(f)
	if err != nil {
		return err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.known = true
	update(&p.maxBody, read.maxBody)
	update(&p.maxInFlight, read.maxInFlight)
	update(&p.maxCalls, read.maxCalls)
	update(&p.features, read.features)
	p.maxInFlight = max(p.maxInFlight, 1)
	return nil
}

func update(limit, said *uint32) {
	if said != nil {
		*limit = *said
	}
}

// frame says them.
func (l limits) frame() *frame {
	var w fieldWriter
	w.number(tagMaxBody, l.maxBody)
	w.number(tagMaxInFlight, l.maxInFlight)
	w.number(tagMaxCalls, l.maxCalls)
	w.number(tagFeatures, l.features)
	return &frame{kind: Settings, fields: w.Bytes()}
}
