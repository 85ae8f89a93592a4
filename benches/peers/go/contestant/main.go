// Go's side of `cargo versus`: one workload, by name; benches/program/src/lib.rs has the protocol.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scale and procs are what the program was asked for.
var scale, procs = 1, 1

// size returns a size that is full at scale 1.
func size(full int) int { return max(1, full/scale) }

func tell(metric string, value float64) { fmt.Println(metric, value) }

// tellTime runs f, which does n operations, first with an eighth of them, untimed; tells nanoseconds each.
func tellTime(n int, f func(n int)) {
	f(max(1, n/8))
	begin := time.Now()
	f(n)
	tell("time", float64(time.Since(begin).Nanoseconds())/float64(n))
}

// tellTimeOver also tells what of it is more than the time of raw, which does the same without the runtime.
func tellTimeOver(n int, raw, f func(n int)) {
	n = max(1, n/8)
	timed := func(f func(n int)) float64 {
		begin := time.Now()
		f(n)
		return float64(time.Since(begin).Nanoseconds()) / float64(n)
	}
	var times, overs []float64
	for i := range 9 {
		r, t := timed(raw), timed(f)
		if i > 0 {
			times, overs = append(times, t), append(overs, t-r)
		}
	}
	slices.Sort(times)
	slices.Sort(overs)
	tell("time", times[len(times)/2])
	tell("over-raw", max(0, overs[len(overs)/2]))
}

// latencies are what is told of them: names, and the share of them that is not longer.
var latencies = []struct {
	metric string
	share  float64
}{{"median", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"worst", 1}}

// quantile returns the value below which the share q of the sorted values lies.
func quantile(sorted []int64, q float64) int64 {
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*q))]
}

// tellLatencies tells all of them, in microseconds.
func tellLatencies(nanos []int64) {
	slices.Sort(nanos)
	for _, l := range latencies {
		tell(l.metric, float64(quantile(nanos, l.share))/1e3)
	}
}

func refuse(why string) {
	fmt.Fprintln(os.Stderr, why+"\nusage: PROGRAM WORKLOAD [--scale N] [--procs N] (the names: `cargo versus --list`)")
	os.Exit(2)
}

func check(ok bool, what string) {
	if !ok {
		panic("wrong result: " + what)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		refuse("a workload is missing")
	}
	workload := args[0]
	for args = args[1:]; len(args) > 0; args = args[2:] {
		n := 0
		if len(args) > 1 {
			n, _ = strconv.Atoi(args[1])
		}
		switch {
		case args[0] == "--scale" && n > 0:
			scale = n
		case args[0] == "--procs" && n > 0:
			procs = n
		default:
			refuse("not understood: " + strings.Join(args, " "))
		}
	}
	runtime.GOMAXPROCS(procs)
	if shape, found := strings.CutPrefix(workload, "mark-"); found {
		markRate(shape, scale)
		return
	}
	if what, found := strings.CutPrefix(workload, "alloc-"); found {
		alloc(what)
		return
	}
	workloads := map[string]func(){
		"echo":       echo,
		"spawn-join": spawnJoin,
		"yield-2":    func() { yields(2) },
		"yield-1000": func() { yields(1000) },
		"ping-pong":  pingPong,
		"buffered":   buffered,
		"select":     selects,
		"mutex":      mutex,
		"skynet":     skynet,
		"parked":     parked,
		"read-byte":  readByte,
		"trees-1w":   func() { trees(1) },
		"trees-2w":   func() { trees(2) },
		"gcbench":    gcbench,
		"ring":       ring,
		"store-off":  storeOff,
		"store-on":   storeOn,
		"stops":      stops,
		"stop-loop":  stopLoop,
		"hiccups":    hiccups,
		"word-index": wordIndex,
	}
	if run, known := workloads[workload]; known {
		run()
	} else {
		refuse("no workload is called `" + workload + "`")
	}
}

// echo serves until standard input ends.
func echo() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println("address", listener.Addr())
	go func() {
		for {
			c, err := listener.Accept()
			must(err)
			go serve(c)
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	must(err)
}

// serve sends back what comes; net sets no-delay by itself.
func serve(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 1024)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}
