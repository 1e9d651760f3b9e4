package kad

// Errand is what a request is for: the Errand of a wire.Message of this protocol.
// The first ones are those of operations of local callers, with the numbers of Op.
type Errand uint8

// The errands that no operation of a caller has.
const (
	// Join is a refresh that somebody waits for: that of a newcomer.
	Join      = Errand(OpRefresh) + 1 + iota
	Reprovide // a provider record is stored anew
	Repair    // a record goes to those of the nearest that lacked it when it was got
	Liveness  // a peer that was silent for long shows whether it is there
	Verify    // a newcomer shows that it serves
	Errands   // how many there are
)

// String returns the errand in lower case.
func (e Errand) String() string {
	if e < Join {
		return Op(e).String()
	}
	return [...]string{"join", "reprovide", "repair", "liveness", "verify"}[e-Join]
}

// errand is what the requests of an operation are for.
func (o *op) errand() uint8 {
	e := Errand(o.body.Op)
	switch {
	case o.body.Op == OpRefresh && o.call != 0:
		e = Join
	case o.body.Op == OpProvide && o.own:
		e = Reprovide
	case o.body.Op == OpGet && o.call == 0:
		e = Repair
	}
	return uint8(e)
}
