import { yieldIfDue } from '../../event-loop.js'

export interface JobOptions {
  /** Aborting rejects with the signal's reason, after the work has come to its end. */
  readonly signal?: AbortSignal | undefined
  /** Called at most twenty times a second, with a number that grows: what it counts is said at the job. */
  readonly onProgress?: ((done: number) => void) | undefined
}

/**
 * How long work on a whole tree looks up from it: to see whether it is still wanted, to let others have the thread, to
 * tell how far it is. The work is written once; in a worker thread it never needs to pause, on the caller's thread it
 * runs in slices.
 */
export interface Pace {
  /** Throws once the work is not wanted any more. */
  check(): void
  /** As `check`; and when it is somebody else's turn, a promise to wait for. Costs little, so call it for each file. */
  yieldIfDue(): Promise<void> | undefined
  /** `done` counts what the job says it counts. */
  progress(done: number): void
}

const PROGRESS_MS = 50

/** The pace of work on the caller's own thread. */
export class CallerPace implements Pace {
  readonly #options: JobOptions
  #lastProgress = -Infinity

  constructor(options: JobOptions = {}) {
    this.#options = options
  }

  check(): void {
    this.#options.signal?.throwIfAborted()
  }

  yieldIfDue(): Promise<void> | undefined {
    this.check()
    return yieldIfDue()?.then(() => this.check())
  }

  progress(done: number): void {
    if (this.#options.onProgress === undefined) return
    const now = performance.now()
    if (now - this.#lastProgress < PROGRESS_MS) return
    this.#lastProgress = now
    this.#options.onProgress(done)
  }
}

/** Does work that is made of small steps. @returns what it comes to */
export async function inPace<T>(steps: Generator<void, T, void>, pace: Pace): Promise<T> {
  try {
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) return step.value
      const turn = pace.yieldIfDue()
      if (turn !== undefined) await turn
    }
  } finally {
    steps.return(undefined as T)
  }
}

/** The pace of work in a worker thread, which another thread stops through memory that both see. */
export class ThreadPace implements Pace {
  readonly #stop: Int32Array
  readonly #report: (done: number) => void
  #lastProgress = -Infinity

  constructor(stop: Int32Array, report: (done: number) => void) {
    this.#stop = stop
    this.#report = report
  }

  check(): void {
    // The thread that asked for it rejects with the signal's own reason; this error only ends the work.
    if (Atomics.load(this.#stop, 0) !== 0) throw new DOMException('stopped', 'AbortError')
  }

  yieldIfDue(): undefined {
    this.check()
  }

  progress(done: number): void {
    const now = performance.now()
    if (now - this.#lastProgress < PROGRESS_MS) return
    this.#lastProgress = now
    this.#report(done)
  }
}
