import type { MessagePort } from 'node:worker_threads'
import type { DiffID } from '../../digest.js'
import type { ChunkLayout } from './chunk-layout.js'
import type { RingMemory } from './chunk-ring.js'
import { closeFiles, type TakenFiles } from './taken-files.js'
import type { PackedError } from '../threads/thread-error.js'

/** What each of two threads holds of a shared record. One thread applies the layer, the other makes its record. */
export interface RecordEnd {
  readonly port: MessagePort
  readonly memory: RingMemory
}

/** Sent to the recorder. */
export interface Note {
  readonly chunks: readonly Chunk[]
  /** Set on the note with the last chunk. */
  readonly end?: { readonly displaced: readonly Displaced[] }
}

export interface Chunk {
  readonly slot: number
  readonly length: number
  readonly layout: ChunkLayout
  /** For each header that ends in the chunk: 1 if its content can be read back from the layer. */
  readonly stored: Uint8Array
  readonly displaced: readonly Displaced[]
  /** Files whose content is in the chunk. The recorder owns them: it receives every note before the port closes. */
  readonly files?: TakenFiles | undefined
}

/** Content of an entry that a later entry removes or overwrites, in a file that both threads have open. */
export interface Displaced {
  readonly entry: number
  /** Number of the header that displaces it. */
  readonly by: number
  readonly fd: number
  readonly offset: number
  readonly length: number
}

/** Sent by the recorder. */
export type Outcome =
  | { readonly type: 'done'; readonly diffId: DiffID }
  | { readonly type: 'failed'; readonly error: PackedError }

/** Closes the files of chunks that will not be recorded. */
export function dismiss(chunks: readonly Pick<Chunk, 'files'>[]): void {
  for (const { files } of chunks) if (files !== undefined) closeFiles(files)
}
