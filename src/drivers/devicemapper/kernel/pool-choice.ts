import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../../../durable/atomic-file.js'
import { isErrno, StoreError } from '../../../errors.js'
import { WholeDevice } from './whole-device.js'
import type { DeviceMapperLayout } from '../layout.js'
import { LoopFiles } from './loop-files.js'
import type { Resolved } from '../options.js'
import { DmPool } from './dm-pool.js'

/** The pool of a root, as recorded in `<root>/layerstack/devicemapper.json`. Without that file, loop files. */
type PoolChoice =
  | { readonly pool: string }
  | { readonly device: string; readonly metadataSize: number }
  | undefined

interface Question {
  readonly root: string
  readonly layout: DeviceMapperLayout
  readonly options: Resolved
  readonly readOnly: boolean
}

/** Opens the root's pool: the recorded one, else the one that the options name, else a pool on loop files. */
export async function openPool({ root, layout, options, readOnly }: Question): Promise<DmPool> {
  const choice = readChoice(root) ?? (await choose(root, layout, options, readOnly))
  mustBe(choice, options)
  const prefix = layout.prefix()
  if (choice === undefined) {
    return new DmPool(`${prefix}-pool`, new LoopFiles(layout, options), options.blockSize, readOnly)
  }
  if ('pool' in choice) {
    const pool = new DmPool(choice.pool, undefined, options.blockSize, readOnly)
    pool.ensure()
    return pool
  }
  const backing = new WholeDevice(choice.device, BigInt(choice.metadataSize), prefix)
  return new DmPool(`${prefix}-pool`, backing, options.blockSize, readOnly)
}

/**
 * Records a pool named by the caller, once the root's base device is known to be in it. From then on, the root opens
 * with that pool only.
 */
export async function rememberPool(root: string, pool: DmPool): Promise<void> {
  if (!pool.isOurs && readChoice(root) === undefined) await writeChoice(root, { pool: pool.name })
}

/** A root with devices keeps its pool. If no pool is recorded, its devices are in loop files, or Docker's. */
async function choose(
  root: string,
  layout: DeviceMapperLayout,
  options: Resolved,
  readOnly: boolean,
): Promise<PoolChoice> {
  const { pool, device, deviceForce } = options
  if (pool !== undefined) return { pool }
  if (device === undefined || readOnly) return undefined
  if (layout.names().length > 0) throw otherPool('loop files', device)
  const metadataSize = Number(WholeDevice.claim(device, deviceForce))
  const choice = { device, metadataSize }
  await writeChoice(root, choice)
  return choice
}

function mustBe(choice: PoolChoice, { pool, device }: Resolved): void {
  if (pool === undefined && device === undefined) return
  const kept = choice === undefined ? 'loop files' : 'pool' in choice ? choice.pool : choice.device
  if (kept !== (pool ?? device)) throw otherPool(kept, pool ?? device ?? '')
}

function readChoice(root: string): PoolChoice {
  const path = pathOf(root)
  try {
    const { pool, device, metadataSize } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    if (typeof pool === 'string') return { pool }
    if (typeof device === 'string' && typeof metadataSize === 'number') return { device, metadataSize }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new StoreError('STORE_CORRUPT', `${path} is damaged: it does not name the thin pool of the layers`, {
    path,
  })
}

async function writeChoice(root: string, choice: NonNullable<PoolChoice>): Promise<void> {
  await writeFileAtomic(pathOf(root), `${JSON.stringify(choice)}\n`, { mode: 0o644 })
}

function pathOf(root: string): string {
  return join(root, 'layerstack', 'devicemapper.json')
}

function otherPool(kept: string, wanted: string): StoreError {
  return new StoreError('STORE_FOREIGN', `the layers of this root are in ${kept}, not in ${wanted}`, {
    hint: 'leave dm.thinpooldev and dm.directlvm_device out, or make a new root',
  })
}
