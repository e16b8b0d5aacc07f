import { availableParallelism } from 'node:os'
import { Worker, type MessagePort } from 'node:worker_threads'
import { StoreError } from '../../errors.js'

/**
 * A new thread needs as long for its first layer as for two later ones. So threads stay between bursts of work, and end
 * when a process has no more.
 */
const IDLE_MS = 30_000

/** Little short-lived data exists at a time. A larger young generation would only keep memory. */
const YOUNG_MB = 6

/** Receives what a worker posts while it runs a task. */
export interface TaskListener<Message> {
  onMessage(message: Message): void
  /** Ends the task: no message follows. */
  onDeath(error: StoreError): void
}

/**
 * At most as many worker threads as processors, started on demand and ended after `IDLE_MS` of idling. A busy worker
 * keeps the process alive; an idle one does not.
 */
export class WorkerPool {
  readonly #size: number
  readonly #idle: PooledWorker[] = []
  readonly #waiting: ((worker: PooledWorker) => void)[] = []
  #started = 0

  constructor(size = availableParallelism()) {
    this.#size = Math.max(1, size)
  }

  /** Waits for a worker, first come, first served. The caller owns it until `release`. */
  async acquire(signal?: AbortSignal): Promise<PooledWorker> {
    signal?.throwIfAborted()
    return this.tryAcquire() ?? this.#wait(signal)
  }

  /** Returns a worker if one is available at once. The caller owns it until `release`. */
  tryAcquire(): PooledWorker | undefined {
    const worker = this.#takeIdle() ?? this.#start()
    worker?.hold()
    return worker
  }

  release(worker: PooledWorker): void {
    if (worker.dead) return
    const next = this.#waiting.shift()
    if (next !== undefined) return next(worker)
    this.#idle.push(worker)
    worker.letGo()
  }

  #takeIdle(): PooledWorker | undefined {
    // An idle worker that is being terminated stays in the list until it exits.
    while (this.#idle.at(-1)?.dead === true) this.#idle.pop()
    return this.#idle.pop()
  }

  #start(): PooledWorker | undefined {
    if (this.#started >= this.#size) return undefined
    this.#started++
    return new PooledWorker((worker) => this.#forget(worker))
  }

  #wait(signal: AbortSignal | undefined): Promise<PooledWorker> {
    return new Promise((resolve, reject) => {
      const take = (worker: PooledWorker): void => {
        signal?.removeEventListener('abort', giveUp)
        resolve(worker)
      }
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#waiting.push(take)
    })
  }

  #forget(worker: PooledWorker): void {
    this.#started--
    const at = this.#idle.indexOf(worker)
    if (at >= 0) this.#idle.splice(at, 1)
    const next = this.#waiting.shift()
    if (next === undefined) return
    const another = this.#start()
    if (another === undefined) this.#waiting.unshift(next)
    else next(another)
  }
}

export class PooledWorker {
  readonly #worker = new Worker(new URL('../run/worker.js', import.meta.url), {
    // The process's own flags (a loader, an inspector, an --input-type) are not meant for this thread.
    execArgv: [],
    name: 'layerstack',
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    // One thread may close what another opened.
    trackUnmanagedFds: false,
  })
  #listener: TaskListener<unknown> | undefined
  #idleTimer: NodeJS.Timeout | undefined
  #dead = false

  constructor(onDeath: (worker: PooledWorker) => void) {
    this.#worker.on('message', (message: unknown) => this.#listener?.onMessage(message))
    this.#worker.on('error', (cause) => this.#die('failed', cause))
    this.#worker.on('messageerror', (cause) => this.#die('sent an unreadable message', cause))
    this.#worker.on('exit', () => {
      this.#die('ended')
      onDeath(this)
    })
  }

  get dead(): boolean {
    return this.#dead
  }

  /** The worker module defines which tasks it accepts and what it posts (`run/messages.ts`). */
  run<Posted>(task: object, transferred: readonly MessagePort[], listener: TaskListener<Posted>): void {
    this.#listener = listener as TaskListener<unknown>
    if (this.#dead) return this.#die('ended')
    this.#worker.postMessage(task, transferred)
  }

  hold(): void {
    clearTimeout(this.#idleTimer)
    this.#worker.ref()
  }

  letGo(): void {
    this.#listener = undefined
    this.#worker.unref()
    this.#idleTimer = setTimeout(() => {
      this.#dead = true
      void this.#worker.terminate()
    }, IDLE_MS).unref()
  }

  #die(what: string, cause?: unknown): void {
    this.#dead = true
    const listener = this.#listener
    this.#listener = undefined
    listener?.onDeath(new StoreError('SYSTEM', `a worker thread ${what} before its work was done`, { cause }))
  }
}
