import { existsSync } from 'node:fs'
import { blockDevicePath } from '../../../sys/block-device.js'
import { dmVersion } from '../../../sys/dm.js'
import { fileSystemOf } from '../../../sys/file-system.js'
import { fileOfLoop } from '../../../sys/loop.js'
import { BASE, type DeviceMapperLayout } from '../layout.js'
import type { Resolved } from '../options.js'
import type { PoolStatus, DmPool } from './dm-pool.js'

const SECTOR = 512n
const METADATA_BLOCK = 4096n

interface StatusSources {
  readonly layout: DeviceMapperLayout
  readonly pool: DmPool
  readonly options: Resolved
  readonly status: PoolStatus
  readonly deletedCount: number
}

/** Returns the rows of `docker info`, with Docker's wording and order. */
export function statusRows({
  layout,
  pool,
  options,
  status,
  deletedCount,
}: StatusSources): [key: string, value: string][] {
  const table = pool.table()
  const blockSize = BigInt(table.blockSectors) * SECTOR
  const [data, metadata] = [table.data, table.metadata].map(({ major, minor }) => ({
    path: blockDevicePath(major, minor),
    file: fileOfLoop(major, minor),
  })) as [Below, Below]
  const inBytes = ({ used, total }: PoolStatus['data'], unit: bigint, { file }: Below): Space => {
    const free = (total - used) * unit
    const below = file === undefined ? free : fileSystemOf(file).free
    return { used: used * unit, total: total * unit, available: below < free ? below : free }
  }
  const least = ((status.data.total * options.minimumFreePercent) / 100n) * blockSize
  return [
    ['Pool Name', pool.name],
    ['Pool Blocksize', humanSize(blockSize)],
    ['Base Device Size', humanSize(BigInt(layout.device(BASE)?.size ?? 0))],
    ['Backing Filesystem', layout.set().baseFileSystem],
    ['Udev Sync Supported', String(existsSync('/run/udev/control'))],
    ...(pool.isOurs
      ? ([
          ['Data file', data.path],
          ['Metadata file', metadata.path],
        ] as [string, string][])
      : []),
    ...fileRow('Data loop file', data),
    ...fileRow('Metadata loop file', metadata),
    ...spaceRows('Data', inBytes(status.data, blockSize, data)),
    ...spaceRows('Metadata', inBytes(status.metadata, METADATA_BLOCK, metadata)),
    ['Thin Pool Minimum Free Space', humanSize(least)],
    ['Deferred Removal Enabled', String(options.deferredRemoval)],
    ['Deferred Deletion Enabled', String(options.deferredDeletion)],
    ['Deferred Deleted Device Count', String(deletedCount)],
    ['Kernel Driver Version', dmVersion().join('.')],
  ]
}

interface Below {
  readonly path: string
  readonly file: string | undefined
}

interface Space {
  readonly used: bigint
  readonly total: bigint
  readonly available: bigint
}

function fileRow(key: string, { file }: Below): [string, string][] {
  return file === undefined ? [] : [[key, file]]
}

function spaceRows(what: string, { used, total, available }: Space): [string, string][] {
  return [
    [`${what} Space Used`, humanSize(used)],
    [`${what} Space Total`, humanSize(total)],
    [`${what} Space Available`, humanSize(available)],
  ]
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']

/** Formats a size as Docker does: at most four digits, in powers of ten. */
function humanSize(bytes: bigint): string {
  let size = Number(bytes)
  let unit = 0
  for (; size >= 1000 && unit < UNITS.length - 1; unit++) size /= 1000
  return `${Number(size.toPrecision(4))}${UNITS[unit]}`
}
