package lookup

import "github.com/shoalnet/shoal/key"

// Pool keeps the memory of searches that are over for those that begin: of a
// simulator of many peers it comes to a fifth of all that is made. It has one owner.
// A nil pool keeps nothing.
type Pool struct{ free []*Search }

// New begins a search as the function New does.
func (p *Pool) New(cfg Config, seeds []key.ID) *Search {
	if p == nil || len(p.free) == 0 {
		return New(cfg, seeds)
	}
	last := len(p.free) - 1
	s := p.free[last]
	p.free = p.free[:last]
	s.Reset(cfg, seeds)
	return s
}

// Over takes a search that nobody uses any more; nil is ignored.
func (p *Pool) Over(s *Search) {
	if p == nil || s == nil {
		return
	}
	s.cfg = Config{} // what it refers to may go
	p.free = append(p.free, s)
}
