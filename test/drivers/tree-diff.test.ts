import { expect, it } from 'vitest'
import { changesOf, sizeOf, tarOf } from '#layerstack/drivers/tree-diff.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import type { SyncStat } from '#layerstack/fs/sync-fs.js'
import { commitLayer } from '#layerstack/jobs/work/commit.js'
import type { JobOptions } from '#layerstack/jobs/work/pace.js'
import { CallerPace } from '#layerstack/jobs/work/pace.js'
import { loopTurns } from '../support/loop-turns.js'

const FILES = 200

it.each<[string, (trees: Trees, options: JobOptions) => Promise<unknown>]>([
  ['changesOf', (trees, options) => drained(changesOf(trees, options))],
  ['tarOf', (trees, options) => drained(tarOf(trees, options))],
  ['sizeOf', sizeOf],
  ['commitLayer', (trees, options) => commitLayer({ source: trees }, new CallerPace(options))],
])('%s yields to the event loop and stops on abort, even if both trees are equal', async (_, make) => {
  const trees = { upper: tree(), lower: tree() }
  expect(await loopTurns(make(trees, {}))).toBeGreaterThan(8)

  const stop = new AbortController()
  setImmediate(() => stop.abort())
  await expect(make(trees, { signal: stop.signal })).rejects.toThrow()
})

interface Trees {
  readonly upper: MemoryFs
  readonly lower: MemoryFs
}

function tree(): MemoryFs {
  const fs = new SlowFs()
  for (let index = 0; index < FILES; index++) fs.mknod(`file${index}` as ByteString, 'fifo', 0o644)
  for (const { name } of fs.readdir('' as ByteString)) fs.utimes(name, 0n, 0n)
  return fs
}

/** So slow that sixteen objects take at least two slices. */
class SlowFs extends MemoryFs {
  override lstat(path: ByteString): SyncStat {
    for (const end = performance.now() + 0.5; performance.now() < end;);
    return super.lstat(path)
  }
}

async function drained(steps: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of steps);
}
