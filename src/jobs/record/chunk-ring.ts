/** What two threads share: some slots for chunks, and how far each thread is. Plain data, so that it crosses. */
export interface RingMemory {
  readonly slots: SharedArrayBuffer
  readonly state: Int32Array
}

/** Small enough to stay in a processor's cache from one use to the next. */
export const SLOT = 1 << 19
const COUNT = 16
const FREED = 0
const CLOSED = 1
/** How many are to be free before whoever waits for a slot is woken. */
const WANTED = 2
/** How many files were filled that the other thread had taken. */
const FILES = 3
/** How often one looks up who waits, should the other thread be gone. */
const PATIENCE_MS = 200

/** @param slots of a ring that nobody uses any more */
export function ringMemory(slots = new SharedArrayBuffer(COUNT * SLOT)): RingMemory {
  return { slots, state: new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT)) }
}

/** Slots to fill, one after the other: each is used again when the other thread has freed it. */
export class ChunkRing {
  readonly #memory: RingMemory
  #filled = 0

  constructor(memory: RingMemory) {
    this.#memory = memory
  }

  /** How many slots the other thread has not freed yet. */
  get backlog(): number {
    return this.#filled - Atomics.load(this.#memory.state, FREED)
  }

  /** Whether the next slot is to be waited for. */
  get isFull(): boolean {
    return this.backlog >= COUNT
  }

  /**
   * The slot to be filled next. Blocks this thread while none is free; `check` throws if there is no use in that. Who waits
   * is woken when half of them are: each time costs both threads as much as some slots take.
   */
  slot(check: () => void): Buffer {
    if (this.isFull) {
      const wanted = this.#filled - COUNT / 2
      Atomics.store(this.#memory.state, WANTED, wanted)
      this.#wait(FREED, (freed) => freed >= wanted, check)
    }
    return slotOf(this.#memory, this.#filled)
  }

  /** The slot is the other thread's now, which is told of it by its number. */
  give(): number {
    return this.#filled++
  }

  get filesFilled(): number {
    return Atomics.load(this.#memory.state, FILES)
  }

  /** Blocks until the other thread has filled so many files, or works no more. */
  waitFilesFilled(count: number, check: () => void): void {
    this.#wait(FILES, (filled) => filled >= count, check)
  }

  /** Blocks until the other thread is done with everything. */
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

/** The other thread's side. */
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

/** From now on nobody waits for this side. */
export function closeRing({ state }: RingMemory): void {
  Atomics.store(state, CLOSED, 1)
  for (const index of [FREED, CLOSED, FILES]) Atomics.notify(state, index)
}

export function isClosed({ state }: RingMemory): boolean {
  return Atomics.load(state, CLOSED) !== 0
}
