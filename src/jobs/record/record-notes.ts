import type { MessagePort } from 'node:worker_threads'
import type { DiffID } from '../../digest.js'
import type { ChunkLayout } from './chunk-layout.js'
import type { RingMemory } from './chunk-ring.js'
import { closeFiles, type TakenFiles } from './taken-files.js'
import type { PackedError } from '../threads/thread-error.js'

/** What each of two threads holds of the record that one of them makes of a layer which the other applies. */
export interface RecordEnd {
  readonly port: MessagePort
  readonly memory: RingMemory
}

/** To the one who records. */
export interface Note {
  readonly chunks: readonly Chunk[]
  /** After the last chunk. */
  readonly end?: { readonly displaced: readonly Displaced[] }
}

export interface Chunk {
  readonly slot: number
  readonly length: number
  readonly layout: ChunkLayout
  /** Of each header that ends in the chunk. */
  readonly stored: Uint8Array
  readonly displaced: readonly Displaced[]
  /** Whose content the chunk holds. They are the recorder's, who gets every note before it is told of the end. */
  readonly files?: TakenFiles | undefined
}

/** Content of an entry that another one takes away, in a file that both threads have open. */
export interface Displaced {
  readonly entry: number
  /** Number of the header that takes it away. */
  readonly by: number
  readonly fd: number
  readonly offset: number
  readonly length: number
}

/** From the one who records. */
export type Outcome =
  | { readonly type: 'done'; readonly diffId: DiffID }
  | { readonly type: 'failed'; readonly error: PackedError }

/** Closes the files of chunks that nobody is going to record. */
export function dismiss(chunks: readonly Pick<Chunk, 'files'>[]): void {
  for (const { files } of chunks) if (files !== undefined) closeFiles(files)
}
