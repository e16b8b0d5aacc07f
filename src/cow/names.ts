import { parentOf, type ByteString } from '../fs/bytes.js'
import type { FileType, SyncDirent } from '../fs/sync-fs.js'
import { numberOfType, typeOfNumber } from './inode.js'
import { endOf, ITEM, keyOf, REST, u48 } from './key.js'
import { ROOT_INODE, type Volume } from './volume.js'

export interface Entry {
  readonly inode: number
  readonly type: FileType
}

const NOTHING = Buffer.alloc(0)
const ROOT: Entry = { inode: ROOT_INODE, type: 'directory' }

/** The names in the directories of a volume. */
export class Names {
  readonly #volume: Volume
  /** The last directory looked up. Work on a tree stays in one directory for a while. */
  #recentPath = '' as ByteString
  #recent = ROOT_INODE
  #moves = -1

  constructor(volume: Volume) {
    this.#volume = volume
  }

  /** The entry at a path, or an error code if its parent is missing or not a directory. */
  find(path: ByteString): Entry | undefined | 'ENOENT' | 'ENOTDIR' {
    if (path === '') return ROOT
    const parent = this.directory(parentOf(path))
    if (typeof parent === 'string') return parent
    return this.entry(parent, path.slice(path.lastIndexOf('/') + 1) as ByteString)
  }

  /** The inode of a directory. */
  directory(path: ByteString): number | 'ENOENT' | 'ENOTDIR' {
    if (path === '') return ROOT_INODE
    if (path === this.#recentPath && this.#moves === this.#volume.moves) return this.#recent
    let inode = ROOT_INODE
    for (const name of path.split('/')) {
      const entry = this.entry(inode, name as ByteString)
      if (entry === undefined) return 'ENOENT'
      if (entry.type !== 'directory') return 'ENOTDIR'
      inode = entry.inode
    }
    this.#recentPath = path
    this.#recent = inode
    this.#moves = this.#volume.moves
    return inode
  }

  entry(directory: number, name: ByteString): Entry | undefined {
    const value = this.#volume.tree.get(keyOf(directory, ITEM.entry, name))
    return value === undefined ? undefined : entryOf(value)
  }

  /** In byte order. */
  list(directory: number): SyncDirent[] {
    const { tree } = this.#volume
    const list: SyncDirent[] = []
    for (const [key, value] of tree.range(keyOf(directory, ITEM.entry), endOf(directory, ITEM.entry))) {
      list.push({ name: key.slice(REST) as ByteString, type: entryOf(value).type })
    }
    return list
  }

  isEmpty(directory: number): boolean {
    const { tree } = this.#volume
    return tree.range(keyOf(directory, ITEM.entry), endOf(directory, ITEM.entry)).next().done === true
  }

  add(directory: number, name: ByteString, { inode, type }: Entry): void {
    const value = Buffer.allocUnsafe(7)
    value.writeUIntLE(inode, 0, 6)
    value[6] = numberOfType(type)
    this.#volume.tree.set(keyOf(directory, ITEM.entry, name), value)
    this.#volume.tree.set(keyOf(inode, ITEM.reference, u48(directory) + name), NOTHING)
  }

  remove(directory: number, name: ByteString, { inode, type }: Entry): void {
    this.#volume.tree.delete(keyOf(directory, ITEM.entry, name))
    this.#volume.tree.delete(keyOf(inode, ITEM.reference, u48(directory) + name))
    if (type === 'directory') this.#volume.moves++
  }
}

function entryOf(value: Buffer): Entry {
  return { inode: value.readUIntLE(0, 6), type: typeOfNumber(value[6] as number) }
}
