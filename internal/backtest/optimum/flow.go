package optimum

import "math"

// flow finds the paths of least cost for one unit after the other. What was sent may
// be sent back, which gives its cost back, so paths may turn around; potentials keep
// every cost that the search sees at or above zero.
//
// Invariant: for every arc with room left, cost + potential[from] >= potential[to].
type flow struct {
	*graph
	potential, distance []int64
	from                []int32
	open                heap
}

const unreached = math.MaxInt64

func newFlow(g *graph) *flow {
	n := len(g.room)
	f := &flow{graph: g, potential: make([]int64, n), distance: make([]int64, n), from: make([]int32, n)}
	return f
}

// sink is having nothing at the end; the source, having nothing at the beginning, is 0.
func (f *flow) sink() int { return (len(f.times) - 1) * f.states }

// send sends as many units as the cheapest path has room for, at most `left` of them,
// and returns what each of them cost.
func (f *flow) send(left int32) (sent int32, each int64) {
	f.search()
	for to := f.sink(); to != 0; to = int(f.from[to]) {
		room, cost := f.arc(int(f.from[to]), to)
		left, each = min(left, room), each+cost
	}
	for to := f.sink(); to != 0; to = int(f.from[to]) {
		f.push(int(f.from[to]), to, left)
	}
	return left, each
}

// search is Dijkstra's, until the sink is reached.
func (f *flow) search() {
	for i := range f.distance {
		f.distance[i] = unreached
	}
	f.distance[0] = 0
	f.open = append(f.open[:0], reached{})
	sink := f.sink()
	for {
		at := f.open.pop()
		n := int(at.node)
		if at.distance > f.distance[n] {
			continue // reached more cheaply since
		}
		if n == sink {
			break
		}
		f.relax(n)
	}
	f.lift(f.distance[sink])
}

// lift raises the potentials by the distances found, none beyond that of the sink.
func (f *flow) lift(most int64) {
	for i, d := range f.distance {
		f.potential[i] += min(d, most)
	}
}

// relax looks at all neighbours of a node.
func (f *flow) relax(n int) {
	s := n % f.states
	f.reach(n, n+f.states)
	f.reach(n, n-f.states)
	base := n - s
	if s != nothing {
		f.reach(n, base)
	}
	if s != nothing && s != f.onDemand() {
		f.reach(n, base+f.onDemand())
		return
	}
	for to := 1; to < f.states; to++ {
		f.reach(n, base+to)
	}
}

func (f *flow) reach(n, to int) {
	room, cost := f.arc(n, to)
	if room <= 0 {
		return
	}
	d := f.distance[n] + cost + f.potential[n] - f.potential[to]
	if d < f.distance[to] {
		f.distance[to], f.from[to] = d, int32(n)
		f.open.push(reached{d, int32(to)})
	}
}

// arc is the room that is left from a node to another, and what a unit costs there;
// what was sent the other way may be taken back.
func (f *flow) arc(n, to int) (room int32, cost int64) {
	switch {
	case to == n || to < 0 || to >= len(f.room):
		return 0, 0
	case to == n+f.states:
		return f.room[n] - f.staying[n], f.stay[n]
	case to == n-f.states:
		return f.staying[to], -f.stay[to]
	case n%f.states == nothing:
		return f.entering(to)
	case to%f.states == nothing:
		return f.leaving(n)
	case n%f.states == f.onDemand():
		return f.handing(to)
	default:
		return f.handed[n], -f.handover
	}
}

func (f *flow) entering(to int) (room int32, cost int64) {
	if e := f.entered[to]; e < 0 {
		return -e, 0 // of those that left, some do not
	}
	if f.enter[to] == forbidden {
		return 0, 0
	}
	return math.MaxInt32, f.enter[to]
}

func (f *flow) leaving(n int) (room int32, cost int64) {
	if e := f.entered[n]; e > 0 {
		return e, -f.enter[n]
	}
	return math.MaxInt32, 0
}

func (f *flow) handing(to int) (room int32, cost int64) {
	if f.handover == forbidden || f.enter[to] == forbidden {
		return 0, 0
	}
	return math.MaxInt32, f.handover
}

// push sends units along an arc that has room for them.
func (f *flow) push(n, to int, units int32) {
	switch {
	case to == n+f.states:
		f.staying[n] += units
	case to == n-f.states:
		f.staying[to] -= units
	case n%f.states == nothing:
		f.entered[to] += units
	case to%f.states == nothing:
		f.entered[n] -= units
	case n%f.states == f.onDemand():
		f.handed[to] += units
	default:
		f.handed[n] -= units
	}
}

// reached is a node at a distance.
type reached struct {
	distance int64
	node     int32
}

// heap is a binary heap with the nearest on top; container/heap's boxes would be most
// of the search.
type heap []reached

func (h *heap) push(r reached) {
	*h = append(*h, r)
	a := *h
	i := len(a) - 1
	for i > 0 {
		up := (i - 1) / 2
		if a[up].distance <= r.distance {
			break
		}
		a[i], i = a[up], up
	}
	a[i] = r
}

func (h *heap) pop() reached {
	a := *h
	top, last := a[0], a[len(a)-1]
	a = a[:len(a)-1]
	*h = a
	i := 0
	for {
		down := 2*i + 1
		if down >= len(a) {
			break
		}
		if down+1 < len(a) && a[down+1].distance < a[down].distance {
			down++
		}
		if a[down].distance >= last.distance {
			break
		}
		a[i], i = a[down], down
	}
	if len(a) > 0 {
		a[i] = last
	}
	return top
}
