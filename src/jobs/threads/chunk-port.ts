import type { MessagePort } from 'node:worker_threads'
import { packError, unpackError, type PackedError } from './thread-error.js'

/**
 * A stream of chunks from one thread to another. The receiver gives a credit for each chunk that it is done with, so no
 * more than a few are under way, however slow it is.
 */
type ChunkMessage =
  | { readonly type: 'chunk'; readonly bytes: Uint8Array }
  | { readonly type: 'end' }
  | { readonly type: 'failed'; readonly error: PackedError }

const CREDITS = 8
const LARGEST = 1 << 20

/** The sending side. */
export class ChunkSender {
  readonly #port: MessagePort
  readonly #chunks: AsyncIterator<Uint8Array>
  #credits = CREDITS
  #stopped = false
  #wake: (() => void) | undefined
  /** What the source threw: it itself, not what crossed over. */
  failure: unknown

  constructor(chunks: AsyncIterable<Uint8Array>, port: MessagePort) {
    this.#port = port
    this.#chunks = chunks[Symbol.asyncIterator]()
    port.on('message', () => this.#credit())
    void this.#send()
  }

  /** No more is wanted: the source is closed, and the receiver, if it still waits, is told so. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#port.postMessage({ type: 'failed', error: packError(new Error('the stream was stopped')) })
    this.#wake?.()
    this.#port.close()
    // The source may be waiting for something that never comes; nobody waits for it here.
    void Promise.resolve(this.#chunks.return?.()).catch(() => undefined)
  }

  async #send(): Promise<void> {
    try {
      for (let next = await this.#chunks.next(); next.done !== true; next = await this.#chunks.next()) {
        for (let at = 0; at < next.value.length; at += LARGEST) {
          while (this.#credits === 0 && !this.#stopped) await this.#nextCredit()
          if (this.#stopped) return
          this.#credits--
          this.#postChunk(next.value.subarray(at, at + LARGEST))
        }
      }
      this.#post({ type: 'end' })
    } catch (error) {
      this.failure = error
      this.#post({ type: 'failed', error: packError(error) })
    }
  }

  /** A copy goes: the memory behind a chunk is its owner's, and may be far larger than the chunk. */
  #postChunk(chunk: Uint8Array): void {
    const bytes = new Uint8Array(chunk)
    const message: ChunkMessage = { type: 'chunk', bytes }
    this.#port.postMessage(message, [bytes.buffer])
  }

  #post(message: ChunkMessage): void {
    if (!this.#stopped) this.#port.postMessage(message)
  }

  #nextCredit(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #credit(): void {
    this.#credits++
    this.#wake?.()
  }
}

/** The receiving side. */
export async function* receiveChunks(port: MessagePort): AsyncGenerator<Uint8Array, void, void> {
  const arrived: ChunkMessage[] = []
  let wake: (() => void) | undefined
  port.on('message', (message: ChunkMessage) => {
    arrived.push(message)
    wake?.()
  })
  try {
    for (;;) {
      const message = arrived.shift()
      if (message === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      } else if (message.type === 'chunk') {
        yield message.bytes
        port.postMessage('credit')
      } else if (message.type === 'failed') {
        throw unpackError(message.error)
      } else {
        return
      }
    }
  } finally {
    port.close()
  }
}
