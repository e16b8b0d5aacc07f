import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ThinMetadata, type PoolGeometry } from '#layerstack/thin/thin-metadata.js'
import type { MemoryDevice } from '../cow/memory-device.js'
import { run } from '../support/program.js'

export const GEOMETRY: PoolGeometry = { metadataBlocks: 4096, dataBlocks: 40_000, blockSize: 65_536 }

/** The mappings of each device: its block → the data block. */
export type PoolModel = Map<number, Map<number, number>>

/** One step on a pool, as numbers. */
export type PoolStep = readonly [kind: number, device: number, other: number, block: number, count: number]

/** Applies a step to a pool and to its model. */
export function stepPool(pool: ThinMetadata, model: PoolModel, step: PoolStep): void {
  const [kind, device, other, block, count] = step
  const blocks = model.get(device)
  if (blocks === undefined) {
    const origin = model.get(other)
    if (origin === undefined) pool.createThin(device)
    else pool.createSnapshot(device, other)
    model.set(device, new Map(origin))
  } else if (kind === 0) {
    pool.deleteThin(device)
    model.delete(device)
  } else if (kind < 4) {
    for (let at = block; at < block + count; at++) {
      pool.unmap(device, at)
      blocks.delete(at)
    }
  } else {
    for (let at = block; at < block + count; at++) {
      if (pool.mapping(device, at)?.shared !== false) blocks.set(at, pool.map(device, at))
    }
  }
}

export function mappingsOf(pool: ThinMetadata, model: PoolModel): PoolModel {
  const found: PoolModel = new Map()
  for (const [device, blocks] of model) {
    const mapped = [...blocks.keys()].map(
      (block) => [block, pool.mapping(device, block)?.block ?? -1] as const,
    )
    found.set(device, new Map(mapped))
  }
  return found
}

/** Runs `work` on a temporary file with the device's content, for external programs. */
export async function asFile<T>(device: MemoryDevice, work: (path: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'layerstack-thin-'))
  const path = join(directory, 'metadata')
  try {
    const fd = openSync(path, 'w')
    const block = Buffer.alloc(4096)
    for (let offset = 0; offset < device.size; offset += 4096) {
      device.read(block, offset)
      if (block.some((byte) => byte !== 0)) writeSync(fd, block, 0, 4096, offset)
    }
    ftruncateSync(fd, GEOMETRY.metadataBlocks * 4096)
    closeSync(fd)
    return await work(path)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Rejects with the output of `thin_check` if it finds damage. */
export async function mustBeClean(device: MemoryDevice): Promise<void> {
  await asFile(device, (path) => run('thin_check', [path]))
}

/** Returns the mappings that `thin_dump` prints. */
export async function dumped(device: MemoryDevice): Promise<PoolModel> {
  const xml = (await asFile(device, (path) => run('thin_dump', [path]))).toString()
  const model: PoolModel = new Map()
  let blocks = new Map<number, number>()
  for (const [, tag, rest = ''] of xml.matchAll(/<(device|single_mapping|range_mapping) ([^>]*)>/g)) {
    const attribute = (name: string): number => Number(new RegExp(`${name}="(\\d+)"`).exec(rest)?.[1])
    if (tag === 'device') model.set(attribute('dev_id'), (blocks = new Map()))
    else if (tag === 'single_mapping') blocks.set(attribute('origin_block'), attribute('data_block'))
    else {
      for (let at = 0; at < attribute('length'); at++) {
        blocks.set(attribute('origin_begin') + at, attribute('data_begin') + at)
      }
    }
  }
  return model
}
