import { constants, openSync } from 'node:fs'
import { Readable } from 'node:stream'
import type { Driver } from '#layerstack/drivers/driver.js'
import { StoreError } from '#layerstack/errors.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import type { TarPart } from '#layerstack/tar/part.js'
import { TarReader } from '#layerstack/tar/reader.js'
import type { Fault } from './broken.js'

const SECOND = 1_000_000_000n

/** Drivers with one fault each, and the conformance case that must detect it. */
export const faults: readonly (Fault & { readonly name: string; readonly foundBy: string })[] = [
  {
    name: 'ignores whiteouts in a tar',
    foundBy: 'lets a whiteout hide an object of lower layers, with everything below it',
    driver: (whole) => applying(whole, (name) => !name.includes('.wh.')),
  },
  {
    name: 'ignores opaque markers in a tar',
    foundBy: 'lets an opaque marker hide only lower children, wherever it is in the tar',
    driver: (whole) => applying(whole, (name) => !name.endsWith('.wh..wh..opq')),
  },
  {
    name: 'lets a whiteout hide an entry of its own layer',
    foundBy: 'never lets a whiteout hide an entry of its own layer, before or after it',
    driver: (whole) => ({
      applyDiff: async (id, parent, tar, options) => {
        const hidden: string[] = []
        const seen = filtered(tar, (name) => {
          if (/\.wh\.[^.]/.test(name)) hidden.push(name.replace('.wh.', ''))
          return true
        })
        const size = await whole.applyDiff(id, parent, seen, options)
        const { fs } = await whole.get(id)
        for (const path of hidden) await fs.rm(path, { recursive: true, force: true })
        await whole.put(id)
        return size
      },
    }),
  },
  {
    name: 'loses xattrs',
    foundBy: 'keeps owners above 2^21, every mode bit, nanosecond times and binary xattrs',
    raw: () => ({ setxattr: () => {} }),
  },
  {
    name: 'copies files instead of linking them',
    foundBy: 'keeps hard links of a lower layer that are not modified',
    raw: (whole) => ({ link: (existing, path) => copyFile(whole, existing, path) }),
  },
  {
    name: 'follows symlinks when it changes owners',
    foundBy: 'changes modes, owners, times and xattrs of a lower layer, and nothing else',
    raw: (whole) => ({ chown: (path, uid, gid) => whole.chown(followed(whole, path), uid, gid) }),
  },
  {
    name: 'truncates times to seconds',
    foundBy: 'keeps times before 1970 and after 2038, to the nanosecond',
    raw: (whole) => ({
      utimes: (path, atimeNs, mtimeNs) =>
        whole.utimes(path, atimeNs, mtimeNs === undefined ? undefined : (mtimeNs / SECOND) * SECOND),
    }),
  },
  {
    name: 'drops the set-id and sticky bits',
    foundBy: 'changes modes, owners, times and xattrs of a lower layer, and nothing else',
    raw: (whole) => ({ chmod: (path, mode) => whole.chmod(path, mode & 0o777) }),
  },
  {
    name: 'creates regular files instead of devices and fifos',
    foundBy: 'keeps devices and fifos',
    raw: (whole) => ({ mknod: (path, _type, mode) => whole.open(path, CREATE, mode).close() }),
  },
  {
    name: 'writes changes of a child to its parent',
    foundBy: "shows a child its parent's content, and keeps the child's changes out of the parent",
    driver: (whole) => {
      const parents = new Map<string, string>()
      const real = (id: string): string => parents.get(id) ?? id
      return {
        create: async (id, parent, options) => {
          await whole.create(id, parent, options)
          if (parent !== undefined) parents.set(id, real(parent))
        },
        get: (id, options) => whole.get(real(id), options),
        put: (id) => whole.put(real(id)),
      }
    },
  },
  {
    name: 'creates a child without the content of its parent',
    foundBy: "shows a child its parent's content, and keeps the child's changes out of the parent",
    driver: (whole) => ({ create: (id, _parent, options) => whole.create(id, undefined, options) }),
  },
  {
    name: 'creates a layer on a missing parent',
    foundBy: 'refuses to create a layer on a missing parent',
    driver: (whole) => ({
      create: async (id, parent, options) =>
        whole.create(id, parent !== undefined && (await whole.exists(parent)) ? parent : undefined, options),
    }),
  },
  {
    name: 'ignores put',
    foundBy: 'refuses to remove a layer while a view of it is open, and removes it after the last put',
    driver: () => ({ put: async () => {} }),
  },
  {
    name: 'closes all views at the first put',
    foundBy: 'refuses to remove a layer while a view of it is open, and removes it after the last put',
    driver: (whole) => ({
      put: async (id) => {
        for (let times = 0; times < 10; times++) await whole.put(id)
      },
    }),
  },
  {
    name: 'counts a surplus put against a later view',
    foundBy: 'ignores a put without a get, and counts correctly afterwards',
    driver: (whole) => {
      let debt = 0
      let views = 0
      return {
        get: async (id, options) => {
          views++
          const view = await whole.get(id, options)
          if (debt > 0 && debt-- > 0) await whole.put(id)
          return view
        },
        put: async (id) => {
          if (views-- <= 0) debt++
          await whole.put(id)
        },
      }
    },
  },
  {
    name: 'lists removed layers',
    foundBy: 'removes a layer, and ignores a removal of a missing layer',
    driver: (whole) => {
      const removed: string[] = []
      return {
        remove: async (id) => {
          await whole.remove(id)
          removed.push(id)
        },
        list: async () => [...(await whole.list()), ...removed],
      }
    },
  },
  {
    name: 'accepts invalid ids',
    foundBy: 'refuses ids that are not valid names',
    driver: (whole) => ({
      create: async (id, parent, options) => {
        if (!['', '..', '.hidden'].includes(id)) await whole.create(id, parent, options)
      },
    }),
  },
  {
    name: 'omits the directories of changed files from the changes',
    foundBy: 'lists changes in path order, with their directories',
    driver: (whole) => ({
      async *changes(id, parent, options) {
        for await (const change of whole.changes(id, parent, options)) {
          if (change.path !== '/etc') yield change
        }
      },
    }),
  },
  {
    name: 'produces a different diff each time',
    foundBy: 'returns a diff that makes the same layer on a copy of the parent',
    driver: (whole) => ({
      diff: (id, parent, options) => Readable.from(stamped(whole.diff(id, parent, options))),
    }),
  },
  {
    name: 'reports the size of the tar as the size of the diff',
    foundBy: 'counts each file once in a size, however many names it has',
    driver: (whole) => ({
      diffSize: async (id, parent) => {
        let size = 0
        for await (const chunk of whole.diff(id, parent)) size += (chunk as Uint8Array).length
        return size
      },
    }),
  },
  {
    name: 'ignores the abort signal',
    foundBy: "stops an aborted diff or apply with the signal's reason",
    driver: (whole) => ({
      applyDiff: (id, parent, tar) => whole.applyDiff(id, parent, tar),
      diff: (id, parent) => whole.diff(id, parent),
    }),
  },
  {
    name: 'leaks a file descriptor',
    foundBy: 'creates an empty layer, and finds it by its id',
    driver: (whole) => ({
      create: async (id, parent, options) => {
        await whole.create(id, parent, options)
        openSync((await whole.metadata(id))['SourceDir'] ?? '', constants.O_RDONLY)
      },
    }),
  },
  {
    name: 'accepts a truncated tar',
    foundBy: 'refuses a truncated tar',
    driver: (whole) => ({
      applyDiff: (id, parent, tar, options) => whole.applyDiff(id, parent, tar, options).catch(() => 0),
    }),
  },
  {
    name: 'keeps a layer whose creation failed',
    foundBy: 'refuses unknown storage options, and creates no layer',
    driver: (whole) => ({
      createReadWrite: async (id, parent, options) => {
        await whole.createReadWrite(id, parent)
        if (options?.storageOptions !== undefined) throw new StoreError('ENGINE_UNSUPPORTED', 'no')
      },
    }),
  },
]

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL } = constants
const CREATE = O_WRONLY | O_CREAT | O_EXCL

function applying(whole: Driver, keep: (name: string) => boolean): Partial<Driver> {
  return {
    applyDiff: (id, parent, tar, options) => whole.applyDiff(id, parent, filtered(tar, keep), options),
  }
}

/** Drops the tar entries whose names `keep` rejects. */
async function* filtered(
  tar: AsyncIterable<Uint8Array>,
  keep: (name: string) => boolean,
): AsyncGenerator<Uint8Array, void, void> {
  const reader = new TarReader()
  let kept = true
  const taken = (part: TarPart): Uint8Array[] => {
    if (part.type === 'header') kept = keep(part.header.name)
    return kept ? [Buffer.from(part.bytes)] : []
  }
  for await (const chunk of tar) for (const part of reader.push(chunk)) yield* taken(part)
  for (const part of reader.end()) yield* taken(part)
  if (!kept) yield Buffer.alloc(1024)
}

async function* stamped(tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  yield* tar
  stamp += 1
  yield Buffer.alloc(512 * stamp)
}

let stamp = 0

function copyFile(fs: SyncFs, from: Parameters<SyncFs['lstat']>[0], to: typeof from): void {
  const [source, target] = [fs.open(from, O_RDONLY), fs.open(to, CREATE, fs.lstat(from).mode)]
  const buffer = Buffer.alloc(source.stat().size)
  source.read(buffer, 0)
  target.write(buffer, 0)
  source.close()
  target.close()
}

function followed(fs: SyncFs, path: Parameters<SyncFs['lstat']>[0]): typeof path {
  return fs.lstat(path).type === 'symlink' ? fs.readlink(path) : path
}
