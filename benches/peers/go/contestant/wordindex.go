package main

// The same program as runtime/examples/word_index, whose files say why it is as it is: one search tree in the order of
// the words' hashes, to which all goroutines add at once by compare-and-swap.

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
	"unsafe"
)

const (
	inFlight = 64
	open     = 16
	batch    = 4096
	room     = 47
)

// wordChunk is some of a word's positions in one file: distances, seven bits per byte, the lowest first; the top bit says
// that more follow.
type wordChunk struct {
	next  *wordChunk
	file  *string
	used  uint8
	bytes [room]byte
}

// push appends one distance, unless the room is too small for it.
func (c *wordChunk) push(distance uint64) bool {
	end := int(c.used) + (max(1, bits.Len64(distance))+6)/7
	if end > room {
		return false
	}
	for i := int(c.used); i < end; i++ {
		c.bytes[i] = byte(distance) | 0x80
		distance >>= 7
	}
	c.bytes[end-1] &= 0x7f
	c.used = uint8(end)
	return true
}

func (c *wordChunk) each(visit func(at uint64)) {
	at, shift := uint64(0), 0
	for _, b := range c.bytes[:c.used] {
		at += uint64(b&0x7f) << shift
		shift += 7
		if b&0x80 == 0 {
			visit(at)
			shift = 0
		}
	}
}

type wordNode struct {
	hash     uint64
	word     string
	children [2]atomic.Pointer[wordNode]
	chunks   atomic.Pointer[wordChunk]
	count    atomic.Uint64
}

type occurrence struct {
	word string
	at   uint64
}

// add adds the places of one word in file.
func (n *wordNode) add(file *string, places []occurrence) {
	n.count.Add(uint64(len(places)))
	for len(places) > 0 {
		c := &wordChunk{file: file}
		last, fitting := uint64(0), 0
		for fitting < len(places) && c.push(places[fitting].at-last) {
			last = places[fitting].at
			fitting++
		}
		places = places[fitting:]
		for {
			c.next = n.chunks.Load()
			if n.chunks.CompareAndSwap(c.next, c) {
				break
			}
		}
	}
}

var seed = maphash.MakeSeed()

// node returns the node of a word: the one that is there, or a new one.
func (n *wordNode) node(word string) *wordNode {
	hash := maphash.String(seed, word)
	var made *wordNode
	for {
		side := 0
		switch c := cmp.Compare(hash, n.hash); {
		case c > 0:
			side = 1
		case c == 0:
			if order := strings.Compare(word, n.word); order == 0 {
				return n
			} else if order > 0 {
				side = 1
			}
		}
		if child := n.children[side].Load(); child != nil {
			n = child
			continue
		}
		if made == nil {
			made = &wordNode{hash: hash, word: strings.Clone(word)}
		}
		if n.children[side].CompareAndSwap(nil, made) {
			return made
		}
	}
}

func (n *wordNode) each(visit func(*wordNode)) {
	for i := range n.children {
		if child := n.children[i].Load(); child != nil {
			visit(child)
			child.each(visit)
		}
	}
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' }

// addText adds the words of a text that is in lower case.
func (n *wordNode) addText(file *string, text string) {
	words := make([]occurrence, 0, batch)
	flush := func() {
		slices.SortFunc(words, func(a, b occurrence) int {
			if c := strings.Compare(a.word, b.word); c != 0 {
				return c
			}
			return cmp.Compare(a.at, b.at)
		})
		for begin := 0; begin < len(words); {
			end := begin + 1
			for end < len(words) && words[end].word == words[begin].word {
				end++
			}
			n.node(words[begin].word).add(file, words[begin:end])
			begin = end
		}
		words = words[:0]
	}
	for at := 0; at < len(text); {
		if !isLetter(text[at]) {
			at++
			continue
		}
		begin := at
		for at < len(text) && isLetter(text[at]) {
			at++
		}
		words = append(words, occurrence{text[begin:at], uint64(begin)})
		if len(words) == batch {
			flush()
		}
	}
	flush()
}

// indexFile reads one file and adds its words; says whether it is a text.
func (n *wordNode) indexFile(path string, opened chan struct{}) bool {
	opened <- struct{}{}
	data, err := os.ReadFile(path)
	<-opened
	if err != nil || !utf8.Valid(data) {
		return false
	}
	for i, b := range data {
		if b >= 'A' && b <= 'Z' {
			data[i] = b | 0x20
		}
	}
	n.addText(&path, unsafe.String(unsafe.SliceData(data), len(data)))
	return true
}

// indexAll adds every file below the folder that the program runs in, but for `target` and dot entries; returns how
// many texts there are.
func (n *wordNode) indexAll() int {
	var files atomic.Int64
	flying, opened := make(chan struct{}, inFlight), make(chan struct{}, open)
	// What cannot be read is left out.
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		switch {
		case err != nil && entry != nil && entry.IsDir():
			return fs.SkipDir
		case err != nil:
			return nil
		case path != "." && (name == "target" || strings.HasPrefix(name, ".")):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type().IsRegular():
			flying <- struct{}{}
			go func() {
				if n.indexFile(path, opened) {
					files.Add(1)
				}
				<-flying
			}()
		}
		return nil
	})
	check(err == nil || errors.Is(err, fs.SkipDir), "the folder")
	// Who has all tickets knows that no goroutine has one.
	for range inFlight {
		flying <- struct{}{}
	}
	return int(files.Load())
}

func wordIndex() {
	rounds := size(4)
	begin := time.Now()
	for range rounds - 1 {
		done := make(chan struct{})
		go func() {
			new(wordNode).indexAll()
			close(done)
		}()
		<-done
	}
	index := new(wordNode)
	files := index.indexAll()
	tell("wall", time.Since(begin).Seconds()*1e3/float64(rounds))
	var words, distinct, places, sum uint64
	index.each(func(n *wordNode) {
		words += n.count.Load()
		distinct++
		for c := n.chunks.Load(); c != nil; c = c.next {
			c.each(func(at uint64) {
				places++
				sum += at
			})
		}
	})
	check(words == places, "words counted, and places kept")
	fmt.Printf("result %d files, %d words, %d of them distinct, sum of their places %d\n", files, words, distinct, sum)
}
