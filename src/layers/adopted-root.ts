import type { Driver } from '../drivers/driver.js'
import type { ByteString } from '../fs/bytes.js'
import { xattrsOf } from '../fs/trees/compare.js'
import type { SyncFs } from '../fs/sync-fs.js'
import { openContents } from './layer-contents.js'

const ROOT = '' as ByteString

interface RootAttributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly xattrs: ReadonlyMap<ByteString, Buffer>
}

const OF_A_BASE: RootAttributes = { mode: 0o755, uid: 0, gid: 0, xattrs: new Map() }

/**
 * Gives the root directory of an adopted layer the attributes that it has below. A layer's tar cannot hold a container's
 * changes to the root, so the tree would differ from the one that the tar makes elsewhere. Can be repeated.
 */
export async function restoreRoot(driver: Driver, id: string, parent: string | undefined): Promise<void> {
  const wanted = parent === undefined ? OF_A_BASE : await rootOf(driver, parent)
  if (isSame(await rootOf(driver, id), wanted)) return
  const { fs } = await driver.get(id)
  try {
    setRoot(fs.syncFs, wanted)
  } finally {
    await driver.put(id)
  }
}

async function rootOf(driver: Driver, id: string): Promise<RootAttributes> {
  const { syncFs, close } = await openContents(driver, id)
  try {
    return attributesOf(syncFs)
  } finally {
    await close()
  }
}

function attributesOf(syncFs: SyncFs): RootAttributes {
  const { mode, uid, gid } = syncFs.lstat(ROOT)
  return { mode, uid, gid, xattrs: xattrsOf(syncFs, ROOT) }
}

function isSame(some: RootAttributes, others: RootAttributes): boolean {
  return (
    some.mode === others.mode &&
    some.uid === others.uid &&
    some.gid === others.gid &&
    some.xattrs.size === others.xattrs.size &&
    [...some.xattrs].every(([name, value]) => others.xattrs.get(name)?.equals(value) === true)
  )
}

function setRoot(syncFs: SyncFs, { mode, uid, gid, xattrs }: RootAttributes): void {
  syncFs.chown(ROOT, uid, gid)
  for (const name of xattrsOf(syncFs, ROOT).keys()) if (!xattrs.has(name)) syncFs.removexattr(ROOT, name)
  for (const [name, value] of xattrs) syncFs.setxattr(ROOT, name, value)
  syncFs.chmod(ROOT, mode)
}
