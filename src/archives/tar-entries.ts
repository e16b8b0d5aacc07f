import type { ResolvedLimits } from '../limits.js'
import type { TarHeader, TarPart } from '../tar/part.js'
import { TarReader } from '../tar/reader.js'

export interface TarEntry {
  readonly header: TarHeader
  /** May be left unread, in whole or in part. It ends when the next entry is requested. */
  readonly content: AsyncIterable<Uint8Array>
}

/** Yields the entries of a tar while it streams in. */
export async function* tarEntries(
  chunks: AsyncIterable<Uint8Array>,
  limits: ResolvedLimits,
): AsyncGenerator<TarEntry, void, void> {
  const parts = partsOf(chunks, limits)
  try {
    let next = await parts.next()
    while (next.done !== true) {
      const part = next.value
      next = await parts.next()
      if (part.type !== 'header') continue
      const content = async function* () {
        while (next.done !== true && next.value.type === 'content') {
          // A part is valid only until the next one is read; a consumer may keep it longer.
          const bytes = Buffer.from(next.value.bytes)
          next = await parts.next()
          yield bytes
        }
      }
      yield { header: part.header, content: content() }
      while (next.done !== true && next.value.type === 'content') next = await parts.next()
    }
  } finally {
    await parts.return()
  }
}

async function* partsOf(
  chunks: AsyncIterable<Uint8Array>,
  limits: ResolvedLimits,
): AsyncGenerator<TarPart, void, void> {
  const reader = new TarReader(limits)
  for await (const chunk of chunks) yield* reader.push(chunk)
  yield* reader.end()
}
