import { yieldIfDue } from '../../event-loop.js'

export interface JobOptions {
  /** Aborting rejects with the signal's reason, after the work has stopped. */
  readonly signal?: AbortSignal | undefined
  /** Called at most 20 times a second, with a growing number. Each job documents what it counts. */
  readonly onProgress?: ((done: number) => void) | undefined
}

/**
 * How long-running work checks for cancellation, yields and reports progress. The work is written once: in a worker
 * thread it never yields, on the caller's thread it runs in slices.
 */
export interface Pace {
  /** Throws once the work is no longer wanted. */
  check(): void
  /** Checks as `check` does. Returns a promise to await if other work is due. Cheap enough to call once per file. */
  yieldIfDue(): Promise<void> | undefined
  /** The job defines what `done` counts. */
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

/** Runs work made of small steps. @returns its result */
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

/** The pace of work in a worker thread. Another thread stops it through shared memory. */
export class ThreadPace implements Pace {
  readonly #stop: Int32Array
  readonly #report: (done: number) => void
  #lastProgress = -Infinity

  constructor(stop: Int32Array, report: (done: number) => void) {
    this.#stop = stop
    this.#report = report
  }

  check(): void {
    // The requesting thread rejects with the signal's own reason; this error only ends the work.
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
