package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// spawnJoin: Go has no join; a WaitGroup stands for it, and the result goes through a captured variable.
func spawnJoin() {
	tellTime(size(1_000_000), func(n int) {
		for i := range n {
			var wg sync.WaitGroup
			var result int
			wg.Add(1)
			go func() {
				result = i
				wg.Done()
			}()
			wg.Wait()
			check(result == i, "spawn")
		}
	})
}

func yields(goroutines int) {
	tellTime(size(4_000_000), func(n int) {
		each := (n + goroutines - 1) / goroutines
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range each {
					runtime.Gosched()
				}
			})
		}
		wg.Wait()
	})
}

func pingPong() {
	tellTime(size(500_000), func(n int) {
		ping, pong, done := make(chan int), make(chan int), make(chan struct{})
		go func() {
			for i := range ping {
				pong <- i + 1
			}
			close(done)
		}()
		for i := range n {
			ping <- i
			check(<-pong == i+1, "ping-pong")
		}
		close(ping)
		<-done
	})
}

func buffered() {
	tellTime(size(4_000_000), func(n int) {
		c := make(chan int, 64)
		go func() {
			for i := range n {
				c <- i
			}
			close(c)
		}()
		sum := 0
		for i := range c {
			sum += i
		}
		check(sum == n*(n-1)/2, "buffered")
	})
}

func selects() {
	tellTime(size(1_000_000), func(n int) {
		var c [4]chan int
		for i := range c {
			c[i] = make(chan int)
			go func() {
				for range (n + 3) / 4 {
					c[i] <- 1
				}
			}()
		}
		sum := 0
		for range 4 * ((n + 3) / 4) {
			select {
			case i := <-c[0]:
				sum += i
			case i := <-c[1]:
				sum += i
			case i := <-c[2]:
				sum += i
			case i := <-c[3]:
				sum += i
			}
		}
		check(sum == 4*((n+3)/4), "select")
	})
}

func mutex() {
	tellTime(size(4_000_000), func(n int) {
		var m sync.Mutex
		var wg sync.WaitGroup
		count, each := 0, (n+7)/8
		for range 8 {
			wg.Go(func() {
				for range each {
					m.Lock()
					count++
					m.Unlock()
				}
			})
		}
		wg.Wait()
		check(count == 8*each, "mutex")
	})
}

// node: a tree of goroutines, ten below each.
func node(up chan<- int, first, leaves int) {
	if leaves == 1 {
		up <- first
		return
	}
	c := make(chan int)
	for i := range 10 {
		go node(c, first+i*leaves/10, leaves/10)
	}
	sum := 0
	for range 10 {
		sum += <-c
	}
	up <- sum
}

func skynet() {
	leaves := 1_000_000
	for s := scale; s >= 10; s /= 10 {
		leaves /= 10
	}
	begin := time.Now()
	c := make(chan int)
	go node(c, 0, leaves)
	check(<-c == leaves*(leaves-1)/2, "skynet")
	tell("wall", time.Since(begin).Seconds()*1e3)
}

// memory returns bytes of this process: pages in memory and page tables.
func memory() (sum float64) {
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if words[0] == "VmRSS:" || words[0] == "VmPTE:" {
			kib, err := strconv.ParseFloat(words[1], 64)
			must(err)
			sum += kib * 1024
		}
	}
	return sum
}

func parked() {
	n := size(1_000_000)
	bare := memory()
	begin := time.Now()
	wake, ready := make(chan struct{}), make(chan struct{}, 64)
	var wg sync.WaitGroup
	wg.Add(n)
	for range n {
		go func() {
			ready <- struct{}{}
			_, open := <-wake
			check(!open, "parked")
			wg.Done()
		}()
	}
	for range n {
		<-ready
	}
	tell("time", float64(time.Since(begin).Nanoseconds())/float64(n))
	tell("memory", (memory()-bare)/float64(n))
	close(wake)
	wg.Wait()
}

// readByte uses package syscall: os.File would add a lock of its own.
func readByte() {
	zero, err := os.Open("/dev/zero")
	must(err)
	fd := int(zero.Fd())
	b := []byte{1}
	raw := func(n int) {
		for range n {
			read, _, _ := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1)
			check(read == 1 && b[0] == 0, "read-byte")
			b[0] = 1
		}
	}
	tellTimeOver(size(2_000_000), raw, func(n int) {
		for range n {
			read, _ := syscall.Read(fd, b)
			check(read == 1 && b[0] == 0, "read-byte")
			b[0] = 1
		}
	})
	runtime.KeepAlive(zero)
}
