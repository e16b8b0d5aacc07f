import type { MessagePort } from 'node:worker_threads'
import { packError, unpackError, type PackedError } from './thread-error.js'

/**
 * A stream of chunks from one thread to another. The receiver grants a credit for each chunk that it has used, so at
 * most `CREDITS` chunks are in flight, however slow it is.
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
  /** The error that the source threw: the original, not the copy sent to the receiver. */
  failure: unknown

  constructor(chunks: AsyncIterable<Uint8Array>, port: MessagePort) {
    this.#port = port
    this.#chunks = chunks[Symbol.asyncIterator]()
    port.on('message', () => this.#credit())
    void this.#send()
  }

  /** Stops the stream: closes the source, and notifies the receiver if it still waits. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#port.postMessage({ type: 'failed', error: packError(new Error('the stream was stopped')) })
    this.#wake?.()
    this.#port.close()
    // The source may never answer, so this does not wait for it.
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

  /** Sends a copy: the memory behind a chunk belongs to its owner and may be far larger than the chunk. */
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
