package kad

// idleRoom is the length up to which a queue keeps its memory while it is empty:
// enough for a peer that serves one request after the other, little for one of
// very many that idle.
const idleRoom = 4

// queue is first in, first out.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) push(x T) {
	if q.head > 0 && len(q.items) == cap(q.items) { // use what was taken before growing
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// pop takes the first item out. There must be one.
func (q *queue[T]) pop() T {
	x := q.items[q.head]
	var none T
	q.items[q.head] = none // what it refers to may go
	q.head++
	switch {
	case q.head < len(q.items):
	case cap(q.items) > idleRoom:
		*q = queue[T]{}
	default:
		q.items, q.head = q.items[:0], 0
	}
	return x
}
