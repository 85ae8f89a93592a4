// How fast Go's collector marks, on the heap shapes of benches/src/bin/mark_rate.rs.
//
//	GODEBUG=gctrace=1 go run ./go/mark_rate [-scale N] [-rounds N] [shape...]
//
// The rate is MiB of marked objects for each second of processor time that the collector spends on marking: assists,
// dedicated and idle workers, from runtime/metrics. A forced cycle (runtime.GC) on an otherwise idle program.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
)

const (
	graphObjects = 8 << 20
	treeLevels   = 25
	leafCount    = 10_000_000
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

func measure(shape string, scale, rounds int) {
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
	}
	runtime.GC()
	rates := make([]float64, rounds)
	var live uint64
	for i := range rates {
		before, _ := marking()
		runtime.GC()
		var after float64
		after, live = marking()
		rates[i] = float64(live) / (1 << 20) / (after - before)
	}
	slices.Sort(rates)
	fmt.Printf("%-10s %8.0f %10s %10.0f %10.0f %10.0f\n",
		shape, float64(live)/(1<<20), "", rates[len(rates)/2], rates[0], rates[len(rates)-1])
	runtime.KeepAlive(keep)
}

func main() {
	scale := flag.Int("scale", 1, "heaps of an Nth of the full size")
	rounds := flag.Int("rounds", 9, "cycles measured for each shape")
	flag.Parse()
	known := []string{"graph", "tree", "ordered", "shuffled"}
	shapes := flag.Args()
	if len(shapes) == 0 {
		shapes = known
	}
	for _, s := range shapes {
		if !slices.Contains(known, s) || *scale < 1 || *rounds < 1 {
			fmt.Fprintf(os.Stderr, "mark_rate: shapes are %v, scale and rounds 1 or more\n", known)
			os.Exit(2)
		}
	}
	if len(shapes) == 1 {
		measure(shapes[0], *scale, *rounds)
		return
	}
	fmt.Printf("%-10s %8s %10s %32s\n", "", "MiB", "", "MiB per CPU second")
	fmt.Printf("%-10s %8s %10s %10s %10s %10s\n", "shape", "marked", "", "median", "min", "max")
	for _, s := range shapes {
		// A process for each, so that no shape marks another one's garbage.
		self, _ := os.Executable()
		c := exec.Command(self, "-scale", strconv.Itoa(*scale), "-rounds", strconv.Itoa(*rounds), s)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
