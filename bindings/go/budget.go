package qcow2blk

import (
	"container/list"
	"context"
	"sync"
)

// mostInFlight is how much memory of C the requests of an image may hold at a time. It is for each image, so that one whose
// storage hangs does not hold up the others.
const mostInFlight = 64 << 20

// queueDepth is how many requests of all images may be in flight: as many as a queue of the library takes.
const queueDepth = 65536

// budget makes goroutines wait when too much is in flight, first come, first served.
type budget struct {
	mu      sync.Mutex
	free    int
	waiting list.List // of *budgetWaiter
}

type budgetWaiter struct {
	amount  int
	granted chan struct{}
}

// costOf is what a request with a buffer of that length takes from the budget of its image.
func costOf(length int) int {
	return (length + smallestBuffer - 1) &^ (smallestBuffer - 1)
}

func (b *budget) acquire(ctx context.Context, amount int) error {
	b.mu.Lock()
	if b.waiting.Len() == 0 && b.free >= amount {
		b.free -= amount
		b.mu.Unlock()
		return nil
	}
	waiter := &budgetWaiter{amount: amount, granted: make(chan struct{})}
	place := b.waiting.PushBack(waiter)
	b.mu.Unlock()

	select {
	case <-waiter.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-waiter.granted:
		b.free += amount
	default:
		b.waiting.Remove(place)
	}
	// Those behind may be content with less.
	b.grant()
	return ctx.Err()
}

func (b *budget) release(amount int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += amount
	b.grant()
}

// grant serves those who wait, in order. The lock is held.
func (b *budget) grant() {
	for place := b.waiting.Front(); place != nil; place = b.waiting.Front() {
		waiter := place.Value.(*budgetWaiter)
		if waiter.amount > b.free {
			return
		}
		b.free -= waiter.amount
		b.waiting.Remove(place)
		close(waiter.granted)
	}
}
