package table

// pressureSteps is in how many steps the places above a bucket's size go, so that a
// small change of pressure changes no table.
const pressureSteps = 8

// Press says how scarce memory is, from 0, idle, to 1. With table.soft a bucket has
// places above its size while memory is idle; they go as it gets scarce. Whoever the
// admission likes least becomes a spare first, and spares for which there is no room
// are forgotten, the worst first. The driver drains Changed after it.
func (t *Table) Press(level float64) {
	step := int8(min(max(level, 0), 1)*pressureSteps + 0.5)
	if step == t.pressed || t.set.Soft == 0 {
		t.pressed = step
		return
	}
	t.pressed = step
	for b := range t.buckets {
		t.fit(b)
	}
}

// size returns the places of bucket b, those that memory allows above its size
// included.
func (t *Table) size(b int) int {
	size := t.set.size(b)
	if t.set.Soft == 0 {
		return size
	}
	return size + int(t.set.Soft*float64(size)*float64(pressureSteps-t.pressed)/pressureSteps)
}

// fit chooses the members of a bucket for its places, and forgets the worst of those
// that have no room beside them.
func (t *Table) fit(b int) {
	k := &t.buckets[b]
	k.dueAt, t.probeAt = 0, 0
	t.reselect(b)
	for len(k.pool) > t.size(b)+t.set.Spares {
		i := k.worstSpare()
		if i < 0 {
			return
		}
		t.reported(&k.pool[i])
		k.delete(i)
	}
}
