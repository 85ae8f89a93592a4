package main

// How fast Go's collector marks, on the heap shapes of benches/src/mark.rs.
//
// The rate is MiB of marked objects for each second of processor time that the collector spends on marking: assists,
// dedicated and idle workers, from runtime/metrics. A forced cycle (runtime.GC) on an otherwise idle program.

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
)

const (
	graphObjects = 16 << 20
	treeLevels   = 25
	leafCount    = 20_000_000
)

type vertex struct {
	to   [4]*vertex
	data [4]uint64
}

type tree struct {
	left, right *tree
	data        [2]uint64
}

type leaf struct{ data [6]uint64 }

// keep holds the shape that is measured.
var keep any

func graph(n int) any {
	all := make([]*vertex, n)
	for i := range all {
		all[i] = new(vertex)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range all {
		for e := range v.to {
			v.to[e] = all[r.IntN(n)]
		}
	}
	return all[0]
}

func build(levels int) *tree {
	t := &tree{}
	if levels > 1 {
		t.left, t.right = build(levels-1), build(levels-1)
	}
	return t
}

func leaves(n int, shuffled bool) any {
	all := make([]*leaf, n)
	for i := range all {
		all[i] = new(leaf)
	}
	if shuffled {
		r := rand.New(rand.NewPCG(1, 2))
		r.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all
}

// marking returns the processor seconds spent on marking and the bytes that the last cycle found alive.
func marking() (float64, uint64) {
	s := []metrics.Sample{
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	return s[0].Value.Float64() + s[1].Value.Float64() + s[2].Value.Float64(), s[3].Value.Uint64()
}

func markRate(shape string, scale int) {
	debug.SetGCPercent(-1)
	switch shape {
	case "graph":
		keep = graph(max(1, graphObjects/scale))
	case "tree":
		levels := treeLevels
		for s := scale; s > 1; s /= 2 {
			levels--
		}
		keep = build(max(1, levels))
	case "ordered":
		keep = leaves(max(1, leafCount/scale), false)
	case "shuffled":
		keep = leaves(max(1, leafCount/scale), true)
	default:
		refuse("no such heap shape")
	}
	runtime.GC()
	rates := make([]float64, 3)
	for i := range rates {
		before, _ := marking()
		runtime.GC()
		after, live := marking()
		rates[i] = float64(live) / (1 << 20) / (after - before)
	}
	slices.Sort(rates)
	tell("rate", rates[len(rates)/2])
	runtime.KeepAlive(keep)
}
