package main

import (
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The sizes are those of benches/program/src/sizes.rs.

// log2 returns the logarithm of scale, rounded down.
func log2() int {
	n := 0
	for s := scale; s > 1; s /= 2 {
		n++
	}
	return n
}

func checkTree(depth, nodes int) { check(nodes == 1<<(depth+1)-1, "nodes of a tree") }

type pair struct{ left, right *pair }

func newPair(depth int) *pair {
	if depth == 0 {
		return &pair{}
	}
	return &pair{newPair(depth - 1), newPair(depth - 1)}
}

func (p *pair) count() int {
	if p == nil {
		return 0
	}
	return 1 + p.left.count() + p.right.count()
}

func trees(workers int) {
	depth := max(4, 19-log2())
	begin := time.Now()
	checkTree(depth+1, newPair(depth+1).count())
	longLived := newPair(depth)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for d := 4; d <= depth; d += 4 {
				for i := worker; i < 1<<(depth-d+4); i += workers {
					checkTree(d, newPair(d).count())
				}
			}
		})
	}
	wg.Wait()
	checkTree(depth, longLived.count())
	tell("wall", time.Since(begin).Seconds()*1e3)
}

type bench struct {
	left, right *bench
	numbers     [2]uint32
}

func bottomUp(depth int) *bench {
	if depth == 0 {
		return &bench{}
	}
	return &bench{left: bottomUp(depth - 1), right: bottomUp(depth - 1)}
}

func (b *bench) populate(depth int) *bench {
	if depth > 0 {
		b.left, b.right = &bench{}, &bench{}
		b.left.populate(depth - 1)
		b.right.populate(depth - 1)
	}
	return b
}

func topDown(depth int) *bench { return (&bench{}).populate(depth) }

func (b *bench) count() int {
	if b == nil {
		return 0
	}
	return 1 + b.left.count() + b.right.count()
}

func gcbench() {
	depth := max(4, 18-log2())
	begin := time.Now()
	checkTree(depth+2, bottomUp(depth+2).count())
	longLived := topDown(depth)
	numbers := make([]float64, 8<<depth)
	for i := range numbers {
		numbers[i] = 0.5
	}
	for d := 4; d <= depth; d += 2 {
		for range 2 << (depth + 2 - d) {
			runtime.KeepAlive(topDown(d))
		}
		for range 2 << (depth + 2 - d) {
			runtime.KeepAlive(bottomUp(d))
		}
		checkTree(d, topDown(d).count())
	}
	checkTree(depth, longLived.count())
	sum := 0.0
	for _, x := range numbers {
		sum += x
	}
	check(sum == float64(len(numbers))/2 && longLived.numbers == [2]uint32{}, "gcbench")
	tell("wall", time.Since(begin).Seconds()*1e3)
}

type liveNode struct {
	left, right *liveNode
	data        [4]uint64
}

func newLive(depth int) *liveNode {
	n := &liveNode{data: [4]uint64{1, 1, 1, 1}}
	if depth > 0 {
		n.left, n.right = newLive(depth-1), newLive(depth-1)
	}
	return n
}

func (n *liveNode) sum() uint64 {
	if n == nil {
		return 0
	}
	return n.data[0] + n.data[1] + n.data[2] + n.data[3] + n.left.sum() + n.right.sum()
}

const (
	kept      = 8
	liveDepth = 19
)

type words interface {
	[2]uint64 | [4]uint64 | [8]uint64 | [16]uint64 | [128]uint64 | [512]uint64
}

// churn allocates n objects; eight of them are kept at any time, in the heap.
func churn[T words](n int) any {
	keep := make([]*T, kept)
	sum := 0
	for i := range n {
		old := keep[i%kept]
		if old != nil {
			sum += int((*old)[0])
		}
		object := new(T)
		(*object)[0] = uint64(i)
		keep[i%kept] = object
	}
	last := max(0, n-kept)
	check(sum == last*(last-1)/2, "numbers read back")
	return keep
}

// results keeps what must not be on a stack.
var results [2]any

func alloc(what string) {
	size, two := strings.CutSuffix(what, "-2w")
	bytes, err := strconv.Atoi(size)
	must(err)
	churn := map[int]func(int) any{16: churn[[2]uint64], 32: churn[[4]uint64], 64: churn[[8]uint64],
		128: churn[[16]uint64], 1024: churn[[128]uint64], 4096: churn[[512]uint64]}[bytes]
	n, workers := max(1, min(20_000_000, 2<<30/bytes)/scale), 1
	if two {
		workers = 2
	}
	live := newLive(liveDepth)
	begin, cpu := time.Now(), cpuTime()
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() { results[worker] = churn(n) })
	}
	wg.Wait()
	tell("time", float64(time.Since(begin).Nanoseconds())/float64(n))
	tell("cpu", float64((cpuTime()-cpu).Nanoseconds())/float64(n*workers))
	check(live.sum() == 4*(1<<(liveDepth+1)-1), "the live heap")
}

// cpuTime is processor time of this process so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

const messageBytes = 1024

func ring() {
	window, n := size(200_000), size(2_000_000)
	messages := make([]*[messageBytes]byte, window)
	nanos := make([]int64, 0, n)
	for i := range n {
		begin := time.Now()
		at := i % window
		before := -1
		if old := messages[at]; old != nil {
			before = int(old[messageBytes-1])
		}
		message := new([messageBytes]byte)
		for b := range message {
			message[b] = byte(i)
		}
		messages[at] = message
		nanos = append(nanos, time.Since(begin).Nanoseconds())
		if i >= window {
			check(before == int(byte(i-window)), "the oldest message")
		} else {
			check(before == -1, "no message yet")
		}
	}
	tellLatencies(nanos)
}

type big struct {
	left, right *big
	data        [6]uint64
}

func newBig(depth int) *big {
	b := &big{data: [6]uint64{1, 1, 1, 1, 1, 1}}
	if depth > 0 {
		b.left, b.right = newBig(depth-1), newBig(depth-1)
	}
	return b
}

func (b *big) count() int {
	if b == nil {
		return 0
	}
	check(b.data == [6]uint64{1, 1, 1, 1, 1, 1}, "the live heap")
	return 1 + b.left.count() + b.right.count()
}

// pauses returns how many stops there were in each interval of time, and the intervals' bounds in seconds.
func pauses(name string) *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Float64Histogram()
}

// tellPauses tells quantiles of the stops since before: the middles of the histogram's intervals, of which there are
// four from one power of two to the next.
func tellPauses(before, after *metrics.Float64Histogram) {
	counts, all := make([]uint64, len(after.Counts)), uint64(0)
	for i := range counts {
		counts[i] = after.Counts[i] - before.Counts[i]
		all += counts[i]
	}
	check(all > 0, "no stop")
	for _, q := range latencies {
		if strings.HasPrefix(q.metric, "p99.") {
			continue // there are only some hundred
		}
		seen := uint64(0)
		for i, c := range counts {
			seen += c
			if c > 0 && float64(seen) >= q.share*float64(all) {
				least, most := after.Buckets[i], after.Buckets[i+1]
				check(!math.IsInf(least, -1) && !math.IsInf(most, 1), "the histogram knows such stops")
				tell(q.metric, (least+most)/2*1e6)
				break
			}
		}
	}
}

// stops: a mutator allocates and stores while another goroutine has the heap collected again and again.
func stops() {
	depth := 24 - log2()
	b := newBig(depth)
	const name = "/sched/pauses/total/gc:seconds"
	before := pauses(name)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			results[0] = churn[[4]uint64](1000)
		}
	})
	for range 51 {
		runtime.GC()
	}
	done.Store(true)
	wg.Wait()
	tellPauses(before, pauses(name))
	checkTree(depth, b.count())
}

type linked struct {
	next *linked
	data [3]uint64
}

// at is a variable of the package, so that the compiler loads it for each store.
var at = new(linked)

func store(n int, two *[2]*linked) {
	for i := range n {
		at.next = two[i%2]
	}
	check(at.next.data == [3]uint64{}, "store")
}

func storeOff() {
	two := [2]*linked{new(linked), new(linked)}
	tellTime(size(200_000_000), func(n int) { store(n, &two) })
}

// storeOn: beside a collector that marks nearly all the time; told is the median of the batches that took more
// than twice the time of the fastest. The others ran between two cycles, when no barrier is on.
func storeOn() {
	const batch = 20_000
	two := [2]*linked{new(linked), new(linked)}
	depth := 22 - log2()
	b := newBig(depth)
	var done atomic.Bool
	go func() {
		for range 4 {
			runtime.GC()
		}
		done.Store(true)
	}()
	var times []time.Duration
	for {
		begin := time.Now()
		store(batch, &two)
		if done.Load() {
			break
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	i, _ := slices.BinarySearch(times, 2*times[0]+1)
	times = times[i:]
	check(len(times) >= 10, "the collector was too fast")
	tell("time", float64(times[len(times)/2].Nanoseconds())/batch)
	checkTree(depth, b.count())
}

// steps does steps until it is over, which is told the time since the first; returns nanoseconds of each.
func steps(over func(time.Duration) bool) []int64 {
	two := [2]*linked{new(linked), new(linked)}
	// Written to, so that the memory is there before it is needed.
	nanos, n := make([]int64, 4<<20), 0
	for i := range nanos {
		nanos[i] = 1
	}
	for first := time.Now(); ; {
		begin := time.Now()
		store(2000, &two)
		results[0] = churn[[4]uint64](20)
		end := time.Now()
		nanos[n] = end.Sub(begin).Nanoseconds()
		n++
		if n == len(nanos) || over(end.Sub(first)) {
			return nanos[:n]
		}
	}
}

// hiccups: steps of a mutator, alone and then beside a collector that another goroutine starts again and again.
func hiccups() {
	depth := 24 - log2()
	b := newBig(depth)
	runtime.GC()
	run := func(over func(time.Duration) bool) chan []int64 {
		result := make(chan []int64)
		go func() { result <- steps(over) }()
		return result
	}
	alone := <-run(func(since time.Duration) bool { return since > time.Second })
	var end atomic.Bool
	mutator := run(func(time.Duration) bool { return end.Load() })
	for range 4 {
		runtime.GC()
	}
	end.Store(true)
	beside := <-mutator
	slices.Sort(alone)
	slices.Sort(beside)
	control, busy := float64(quantile(alone, 0.9999))/1e3, float64(quantile(beside, 0.9999))/1e3
	tell("control", control)
	tell("over-control", max(0, busy-control))
	tellLatencies(beside)
	checkTree(depth, b.count())
}

// stopLoop stops the world by ReadMemStats; what is told is the time until it stands.
func stopLoop() {
	const name = "/sched/pauses/stopping/other:seconds"
	before := pauses(name)
	var end atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !end.Load() {
		}
	})
	for range size(1000) {
		time.Sleep(300 * time.Microsecond)
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
	}
	end.Store(true)
	wg.Wait()
	tellPauses(before, pauses(name))
}
