/** Shared by two threads: slots for chunks, and how far each thread is. Plain data, so it can be posted. */
export interface RingMemory {
  readonly slots: SharedArrayBuffer
  readonly state: Int32Array
}

/** Bytes of a slot. Small enough to stay in the processor's cache until its next use. */
export const SLOT = 1 << 19
const COUNT = 16
const FREED = 0
const CLOSED = 1
/** How many slots must have been freed in total before a waiting thread is woken. */
const WANTED = 2
/** How many handed-over files the other thread has filled in total. */
const FILES = 3
/** How often a waiting thread runs its `check`, in case the other thread died. */
const PATIENCE_MS = 200

/** @param slots reused from a ring that is no longer in use */
export function ringMemory(slots = new SharedArrayBuffer(COUNT * SLOT)): RingMemory {
  return { slots, state: new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT)) }
}

/** Slots to fill in turn. Each is reused after the other thread has freed it. */
export class ChunkRing {
  readonly #memory: RingMemory
  #filled = 0

  constructor(memory: RingMemory) {
    this.#memory = memory
  }

  /** Number of slots that the other thread has not freed yet. */
  get backlog(): number {
    return this.#filled - Atomics.load(this.#memory.state, FREED)
  }

  /** Whether `slot()` would block. */
  get isFull(): boolean {
    return this.backlog >= COUNT
  }

  /**
   * Returns the next slot to fill. Blocks this thread while none is free; `check` throws if waiting is pointless. A
   * waiting thread is woken when half of the slots are free: each wake-up costs both threads as much as a few slots.
   */
  slot(check: () => void): Buffer {
    if (this.isFull) {
      const wanted = this.#filled - COUNT / 2
      Atomics.store(this.#memory.state, WANTED, wanted)
      this.#wait(FREED, (freed) => freed >= wanted, check)
    }
    return slotOf(this.#memory, this.#filled)
  }

  /** Hands the slot to the other thread. Returns its number, which must be posted to that thread. */
  give(): number {
    return this.#filled++
  }

  get filesFilled(): number {
    return Atomics.load(this.#memory.state, FILES)
  }

  /** Blocks until the other thread has filled `count` files or has closed the ring. */
  waitFilesFilled(count: number, check: () => void): void {
    this.#wait(FILES, (filled) => filled >= count, check)
  }

  /** Blocks until the other thread has closed the ring. */
  waitClosed(check: () => void): void {
    this.#wait(CLOSED, (closed) => closed !== 0, check)
  }

  #wait(index: number, isOver: (value: number) => boolean, check: () => void): void {
    const { state } = this.#memory
    for (;;) {
      const value = Atomics.load(state, index)
      if (isOver(value)) return
      if (index !== CLOSED && Atomics.load(state, CLOSED) !== 0) return
      check()
      Atomics.wait(state, index, value, PATIENCE_MS)
    }
  }
}

/** The other thread's view of a slot. */
export function slotOf({ slots }: RingMemory, number: number, length = SLOT): Buffer {
  return Buffer.from(slots, (number % COUNT) * SLOT, length)
}

export function freeSlot({ state }: RingMemory): void {
  const freed = Atomics.add(state, FREED, 1) + 1
  if (freed >= Atomics.load(state, WANTED)) Atomics.notify(state, FREED)
}

export function tellFilesFilled({ state }: RingMemory, count: number): void {
  Atomics.add(state, FILES, count)
  Atomics.notify(state, FILES)
}

/** Ends all waits for this side, now and later. */
export function closeRing({ state }: RingMemory): void {
  Atomics.store(state, CLOSED, 1)
  for (const index of [FREED, CLOSED, FILES]) Atomics.notify(state, index)
}

export function isClosed({ state }: RingMemory): boolean {
  return Atomics.load(state, CLOSED) !== 0
}
