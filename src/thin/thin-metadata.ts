import { BLOCK, type BlockDevice } from '../cow/block.js'
import { DamagedBlock } from '../cow/damage.js'
import { StoreError } from '../errors.js'
import { systemError } from '../sys/errno.js'
import {
  complaint,
  decodeSuperblock,
  encodeSuperblock,
  number,
  seal,
  type BlockKind,
  type SpaceRoot,
  type ThinSuperblock,
} from './format.js'
import { FixedValues } from './fixed-values.js'
import { PER_BITMAP, SpaceMap } from './space-map.js'
import { decodeThinNode, encodeThinNode, type ThinNode } from './thin-node.js'
import { ThinTree, type ThinNodes, type ThinValues } from './thin-tree.js'

export interface PoolGeometry {
  /** Blocks of 4 KiB for the pool's own trees. */
  readonly metadataBlocks: number
  readonly dataBlocks: number
  /** Size of a data block in bytes. */
  readonly blockSize: number
}

export interface OpenOptions {
  /** Tree blocks to keep in memory, in addition to changed ones. @default 2048 */
  readonly kept?: number | undefined
  /** Whether to create a pool on an empty device. */
  readonly mayMake: boolean
  /** For an empty device: returns whether it must have held a pool. */
  readonly mustExist?: () => boolean
}

/** Where a block of a thin device is stored. */
export interface Mapping {
  readonly block: number
  /** Whether a snapshot may share the block. If so, the block must not be written. */
  readonly shared: boolean
}

interface Details {
  mapped: number
  readonly transactionId: number
  readonly created: number
  snapshotted: number
}

const KEPT = 2048
const INDEX_HEADER = 16
const INDEX_ENTRY = 16
const MOST_BITMAPS = 255
const COUNTS: ThinValues = { size: 4 }
const INDEX: ThinValues = { size: INDEX_ENTRY }
const DETAILS: ThinValues = { size: 24 }
const ROOTS: ThinValues = { size: 8 }
const MAPPING_SIZE = 8

/**
 * The metadata of a thin pool: which data block holds each block of its devices. The format on disk is that of the
 * kernel's dm-thin, so its tools can verify it.
 *
 * A commit writes blocks that the last commit does not reach, then the superblock. The superblock is one sector, so it
 * is written completely or not at all. A crash leaves the last commit.
 */
export class ThinMetadata implements ThinNodes {
  readonly blockSize: number
  #transactionId: number
  readonly #device: BlockDevice
  readonly #geometry: PoolGeometry
  readonly #found: ThinSuperblock | undefined
  #maps: { readonly space: SpaceMap; readonly data: SpaceMap } | undefined
  readonly #spaceCounts: ThinTree
  readonly #dataIndex: ThinTree
  readonly #dataCounts: ThinTree
  readonly #roots: ThinTree
  readonly #detailsTree: ThinTree
  readonly #mappingValues: ThinValues
  readonly #trees = new Map<number, ThinTree>()
  readonly #details = new Map<number, Details>()
  readonly #changedDetails = new Set<number>()
  readonly #nodes = new Map<number, ThinNode>()
  readonly #dirty = new Map<number, { readonly node: ThinNode; readonly valueSize: number }>()
  /** Blocks that this transaction allocated. */
  readonly #fresh = new Set<number>()
  readonly #kept: number
  #indexBlock: number
  #time: number
  #generation: number
  /**
   * Set if a change failed halfway. The state in memory is then invalid, and nothing of this transaction may be
   * written.
   */
  #failure: unknown
  #changed: boolean

  private constructor(
    device: BlockDevice,
    geometry: PoolGeometry,
    found: ThinSuperblock | undefined,
    kept = KEPT,
  ) {
    this.#kept = kept
    this.#device = device
    this.#found = found
    this.blockSize = geometry.blockSize
    this.#geometry = {
      ...geometry,
      metadataBlocks: found?.metadataBlocks ?? geometry.metadataBlocks,
      dataBlocks: Math.max(geometry.dataBlocks, found?.dataSpace.blocks ?? 0),
    }
    this.#transactionId = found?.transactionId ?? 0
    this.#time = found?.time ?? 0
    this.#generation = found?.generation ?? 0
    this.#indexBlock = found?.metadataSpace.bitmaps ?? 0
    this.#changed = found === undefined
    this.#mappingValues = {
      size: MAPPING_SIZE,
      increment: (value) => this.#data.increment(blockOf(value)),
      decrement: (value) => this.#data.decrement(blockOf(value)),
    }
    if (found === undefined) this.#space.allocate()
    this.#spaceCounts = new ThinTree(this, COUNTS, found?.metadataSpace.counts)
    this.#dataIndex = new ThinTree(this, INDEX, found?.dataSpace.bitmaps)
    this.#dataCounts = new ThinTree(this, COUNTS, found?.dataSpace.counts)
    this.#roots = new ThinTree(this, ROOTS, found?.mappings)
    this.#detailsTree = new ThinTree(this, DETAILS, found?.details)
  }

  /**
   * Opens the metadata on a device. Creates a pool on an empty device if `mayMake`. Throws `STORE_FOREIGN` if the
   * device holds something else, and `STORE_CORRUPT` if the superblock is damaged or lost.
   */
  static open(
    device: BlockDevice,
    geometry: PoolGeometry,
    { mayMake, mustExist, kept }: OpenOptions,
  ): ThinMetadata {
    const block = Buffer.alloc(BLOCK)
    device.read(block, 0)
    const isEmpty = block.every((byte) => byte === 0)
    if (isEmpty && mustExist?.() === true) {
      throw lost(device.name)
    }
    if (isEmpty && mayMake) {
      const made = new ThinMetadata(device, geometry, undefined, kept)
      for (let index = 0; index < made.#space.bitmaps.length; index++) made.#space.changedBitmaps.add(index)
      made.commit()
      return made
    }
    const found = decodeSuperblock(block)
    if ('why' in found) throw unusable(device.name, found)
    return new ThinMetadata(device, { ...geometry, blockSize: found.dataBlockSize * 512 }, found, kept)
  }

  /** The transaction ID of this state. */
  get transactionId(): number {
    return this.#transactionId
  }

  /** Makes a change and sets the transaction ID in one step, so a commit writes both or neither. */
  transact(id: number, change: () => void): void {
    change()
    this.#change(() => {
      this.#transactionId = id
    })
  }

  /** The transaction ID with which a device was created; `undefined` if the device does not exist. */
  madeIn(device: number): number | undefined {
    return this.#detailsOf(device)?.transactionId
  }

  get isChanged(): boolean {
    return this.#changed
  }

  /** Whether the state in memory is invalid: it can be neither used nor written. */
  get isLost(): boolean {
    return this.#failure !== undefined
  }

  /** Reads the counts, which only changes need. Throws `DamagedBlock`. */
  loadCounts(): void {
    this.#maps ??= this.#loadMaps()
  }

  get status() {
    const { metadataBlocks, dataBlocks } = this.#geometry
    const [metadata, data] = [this.#maps?.space, this.#maps?.data]
    return {
      metadata: {
        used: metadata?.allocated ?? this.#found?.metadataSpace.allocated ?? 0,
        total: metadataBlocks,
        freed: metadata?.freed ?? 0,
      },
      data: {
        used: data?.allocated ?? this.#found?.dataSpace.allocated ?? 0,
        total: dataBlocks,
        freed: data?.freed ?? 0,
      },
    }
  }

  has(device: number): boolean {
    return this.#detailsOf(device) !== undefined
  }

  /** Throws `EEXIST` if a device has this number. */
  createThin(device: number): void {
    if (this.has(device)) throw systemError('EEXIST', 'create_thin')
    this.#change(() => {
      this.#trees.set(device, new ThinTree(this, this.#mappingValues))
      this.#addDetails(device, 0)
    })
  }

  createSnapshot(device: number, origin: number): void {
    if (this.has(device)) throw systemError('EEXIST', 'create_snap')
    const from = this.#detailsOf(origin)
    if (from === undefined) throw systemError('ENODATA', 'create_snap')
    const { root } = this.#tree(origin)
    this.#change(() => {
      this.increment(root)
      this.#trees.set(device, new ThinTree(this, this.#mappingValues, root))
      this.#time++
      from.snapshotted = this.#time
      this.#changedDetails.add(origin)
      this.#addDetails(device, from.mapped)
    })
  }

  /** A no-op if the device does not exist. */
  deleteThin(device: number): void {
    if (!this.has(device)) return
    const tree = this.#tree(device)
    this.loadCounts()
    tree.loadOwn((address) => this.#space.counts[address] === 1)
    this.#change(() => {
      tree.drop()
      this.#trees.delete(device)
      this.#details.delete(device)
      this.#changedDetails.delete(device)
      this.#roots.delete(device)
      this.#detailsTree.delete(device)
    })
  }

  mapping(device: number, block: number): Mapping | undefined {
    const value = this.#tree(device).get(block)
    const details = this.#detailsOf(device)
    if (value === undefined || details === undefined) return undefined
    return { block: blockOf(value), shared: details.snapshotted > value.readUIntLE(0, 3) }
  }

  /**
   * Maps a block of a device to a new data block, which `fill` writes first. Releases the data block that it replaces.
   * Throws `ENOSPC` if no block is free.
   * @returns the new data block
   */
  map(device: number, block: number, fill?: (made: number) => void): number {
    const tree = this.#tree(device)
    const made = this.#data.allocate()
    try {
      fill?.(made)
    } catch (error) {
      this.#data.giveBack(made)
      throw error
    }
    const value = Buffer.allocUnsafe(MAPPING_SIZE)
    value.writeUIntLE(this.#time, 0, 3)
    value.writeUIntLE(made, 3, 5)
    this.#change(() => {
      const before = tree.get(block)
      tree.set(block, value)
      if (before !== undefined) this.#data.decrement(blockOf(before))
      else this.#countMapped(device, 1)
    })
    return made
  }

  /** A no-op if the block is not mapped. */
  unmap(device: number, block: number): void {
    const tree = this.#tree(device)
    const before = tree.get(block)
    if (before === undefined) return
    this.#change(() => {
      tree.delete(block)
      this.#data.decrement(blockOf(before))
      this.#countMapped(device, -1)
    })
  }

  /** @returns data blocks that nothing uses any more */
  commit(): Iterable<number> {
    if (this.#failure !== undefined) throw this.#failure
    if (!this.#changed) return []
    this.#change(() => this.#save())
    this.#write()
    this.#generation++
    this.#changedDetails.clear()
    this.#fresh.clear()
    this.#dirty.clear()
    for (const map of [this.#space, this.#data]) {
      map.changedBitmaps.clear()
      map.changedCounts.clear()
    }
    this.#changed = false
    this.#space.takeFreed()
    return this.#data.takeFreed()
  }

  damaged(address: number, what: string): Error {
    return new DamagedBlock(this.#device.name, address, what)
  }

  load(address: number, valueSize: number): ThinNode {
    const kept = this.#dirty.get(address)?.node ?? this.#nodes.get(address)
    if (kept !== undefined) return kept
    const node = decodeThinNode(this.#read(address, 'node'), address, valueSize)
    if (typeof node === 'string') throw new DamagedBlock(this.#device.name, address, node)
    return this.#keep(node)
  }

  add(leaf: boolean, valueSize: number): ThinNode {
    const address = this.#allocate()
    const node: ThinNode = { address, leaf, keys: [], values: new FixedValues(valueSize), children: [] }
    this.#dirty.set(address, { node, valueSize })
    return this.#keep(node)
  }

  writable(address: number, valueSize: number, shared: (node: ThinNode) => void): ThinNode {
    const node = this.load(address, valueSize)
    this.#changed = true
    if (this.#fresh.has(address) && this.#space.counts[address] === 1) {
      this.#dirty.set(address, { node, valueSize })
      return node
    }
    const shadow: ThinNode = {
      address: this.#allocate(),
      leaf: node.leaf,
      keys: [...node.keys],
      values: node.values.copy(),
      children: [...node.children],
    }
    if (this.release(address)) shared(node)
    this.#dirty.set(shadow.address, { node: shadow, valueSize })
    return this.#keep(shadow)
  }

  release(address: number): boolean {
    if (this.#space.decrement(address) > 0) return true
    this.#nodes.delete(address)
    this.#dirty.delete(address)
    this.#fresh.delete(address)
    return false
  }

  increment(address: number): void {
    this.#space.increment(address)
  }

  #save(): void {
    for (const [device, tree] of this.#trees) {
      const root = Buffer.alloc(8)
      root.writeBigUInt64LE(BigInt(tree.root))
      if (this.#roots.get(device)?.equals(root) !== true) this.#roots.set(device, root)
    }
    for (const device of this.#changedDetails) {
      this.#detailsTree.set(device, encodeDetails(this.#details.get(device) as Details))
    }
    this.#saveDataSpace()
    this.#saveOwnSpace()
  }

  #change(work: () => void): void {
    if (this.#failure !== undefined) throw this.#failure
    // Load first, so that damaged counts show before a change is half made.
    this.loadCounts()
    this.#changed = true
    try {
      work()
    } catch (error) {
      this.#failure = error
      throw error
    }
  }

  #addDetails(device: number, mapped: number): void {
    const [created, snapshotted] = [this.#time, this.#time]
    this.#details.set(device, { mapped, transactionId: this.#transactionId, created, snapshotted })
    this.#changedDetails.add(device)
  }

  #countMapped(device: number, more: number): void {
    const details = this.#detailsOf(device) as Details
    details.mapped += more
    this.#changedDetails.add(device)
  }

  #detailsOf(device: number): Details | undefined {
    const known = this.#details.get(device)
    if (known !== undefined) return known
    const value = this.#detailsTree.get(device)
    if (value === undefined) return undefined
    const details = decodeDetails(value)
    this.#details.set(device, details)
    return details
  }

  #tree(device: number): ThinTree {
    const open = this.#trees.get(device)
    if (open !== undefined) return open
    const root = this.#roots.get(device)
    if (root === undefined) throw systemError('ENODATA', 'thin')
    const tree = new ThinTree(this, this.#mappingValues, number(root, 0))
    this.#trees.set(device, tree)
    return tree
  }

  /** Saves the counts of data blocks. Their bitmaps and trees are metadata blocks. */
  #saveDataSpace(): void {
    this.#saveCounts(this.#data, this.#dataCounts)
    for (const index of this.#data.changedBitmaps) {
      this.#moveBitmap(this.#data, index)
      this.#dataIndex.set(index, encodeEntry(this.#data, index))
    }
  }

  /**
   * Saves the counts of metadata blocks. This changes the counts, so it repeats until all blocks that hold them belong
   * to this transaction.
   */
  #saveOwnSpace(): void {
    const space = this.#space
    const saved = new Map<number, number>()
    for (let again = true; again;) {
      again = false
      for (const block of space.changedCounts) {
        const count = space.counts[block] as number
        if (saved.get(block) === count) continue
        saved.set(block, count)
        saveCount(this.#spaceCounts, block, count)
        again = true
      }
      for (const index of space.changedBitmaps) again = this.#moveBitmap(space, index) || again
      if (!this.#fresh.has(this.#indexBlock)) {
        if (this.#indexBlock !== 0) this.release(this.#indexBlock)
        this.#indexBlock = this.#allocate()
        again = true
      }
    }
  }

  #saveCounts(space: SpaceMap, tree: ThinTree): void {
    for (const block of space.changedCounts) saveCount(tree, block, space.counts[block] as number)
  }

  /** Moves a bitmap to a block of this transaction. Returns `false` if it is already in one. */
  #moveBitmap(space: SpaceMap, index: number): boolean {
    const before = space.bitmaps[index] as number
    if (this.#fresh.has(before)) return false
    space.bitmaps[index] = this.#allocate()
    if (before !== 0) this.release(before)
    return true
  }

  #write(): void {
    const blocks = new Map<number, Buffer>()
    for (const { node, valueSize } of this.#dirty.values()) {
      blocks.set(node.address, encodeThinNode(node, valueSize))
    }
    for (const space of [this.#data, this.#space]) {
      for (const index of space.changedBitmaps) {
        blocks.set(space.bitmaps[index] as number, space.encodeBitmap(index))
      }
    }
    const index = Buffer.alloc(BLOCK)
    for (let at = 0; at < this.#space.bitmaps.length; at++) {
      encodeEntry(this.#space, at).copy(index, INDEX_HEADER + INDEX_ENTRY * at)
    }
    blocks.set(this.#indexBlock, seal(index, this.#indexBlock, 'index'))
    for (const [address, block] of [...blocks].toSorted(([a], [b]) => a - b)) {
      this.#device.write(block, address * BLOCK, true)
    }
    this.#device.flush()
    this.#device.write(encodeSuperblock(this.#superblock()), 0, true)
    this.#device.flush()
  }

  #superblock(): ThinSuperblock {
    return {
      flags: 0,
      generation: this.#generation + 1,
      time: this.#time,
      transactionId: this.#transactionId,
      dataSpace: spaceRoot(this.#data, this.#dataIndex.root, this.#dataCounts),
      metadataSpace: spaceRoot(this.#space, this.#indexBlock, this.#spaceCounts),
      mappings: this.#roots.root,
      details: this.#detailsTree.root,
      dataBlockSize: this.blockSize / 512,
      metadataBlocks: this.#space.blocks,
    }
  }

  get #space(): SpaceMap {
    return (this.#maps ??= this.#loadMaps()).space
  }

  get #data(): SpaceMap {
    return (this.#maps ??= this.#loadMaps()).data
  }

  /** Loads the maps. They are large, and only processes that change the pool need them. */
  #loadMaps() {
    const wrong = (what: string) => new DamagedBlock(this.#device.name, 0, what)
    const space = new SpaceMap(this.#geometry.metadataBlocks, wrong)
    const data = new SpaceMap(this.#geometry.dataBlocks, wrong)
    if (this.#found !== undefined) this.#readMaps(this.#found, space, data)
    for (const [at, bitmap] of data.bitmaps.entries()) if (bitmap === 0) data.changedBitmaps.add(at)
    if (data.changedBitmaps.size > 0) this.#changed = true
    return { space, data }
  }

  #readMaps({ metadataSpace, dataSpace }: ThinSuperblock, space: SpaceMap, data: SpaceMap): void {
    const index = this.#read(metadataSpace.bitmaps, 'index')
    for (let at = 0; at < Math.min(MOST_BITMAPS, Math.ceil(metadataSpace.blocks / PER_BITMAP)); at++) {
      this.#loadBitmap(space, at, number(index, INDEX_HEADER + INDEX_ENTRY * at))
    }
    for (const [at, entry] of this.#dataIndex.items()) this.#loadBitmap(data, at, number(entry, 0))
    for (const [block, count] of this.#spaceCounts.items()) space.setCount(block, count.readUInt32LE(0))
    for (const [block, count] of this.#dataCounts.items()) data.setCount(block, count.readUInt32LE(0))
    if (data.allocated === dataSpace.allocated) return
    throw new DamagedBlock(this.#device.name, 0, 'its counts of used blocks do not agree')
  }

  #loadBitmap(space: SpaceMap, index: number, address: number): void {
    if (index >= space.bitmaps.length) {
      throw new DamagedBlock(this.#device.name, 0, `bitmap ${index} lies past the end`)
    }
    space.decodeBitmap(index, address, this.#read(address, 'bitmap'))
  }

  #read(address: number, kind: BlockKind): Buffer {
    const block = Buffer.allocUnsafeSlow(BLOCK)
    if (address >= this.#geometry.metadataBlocks) {
      throw new DamagedBlock(
        this.#device.name,
        0,
        `a pointer leads to block ${address}, which lies past the end`,
      )
    }
    this.#device.read(block, address * BLOCK)
    const damage = complaint(block, address, kind)
    if (damage !== undefined) throw new DamagedBlock(this.#device.name, address, damage)
    return block
  }

  #allocate(): number {
    const address = this.#space.allocate()
    this.#fresh.add(address)
    return address
  }

  #keep(node: ThinNode): ThinNode {
    if (this.#nodes.size >= this.#kept) this.#nodes.clear()
    this.#nodes.set(node.address, node)
    return node
  }
}

/** The error for a file whose content is lost. */
export function lost(path: string): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is missing or empty, but layers were stored in it`, {
    path,
    hint: 'restore it from a backup, or make a new root',
  })
}

function unusable(path: string, { why, isDamaged }: { why: string; isDamaged: boolean }): StoreError {
  const hint = 'run thin_check on it; thin_repair writes what can be saved into a new file'
  if (isDamaged)
    return new StoreError('STORE_CORRUPT', `the superblock of ${path} is damaged: ${why}`, { path, hint })
  return new StoreError('STORE_FOREIGN', `${path} is not a thin pool of this library: ${why}`, { path, hint })
}

function saveCount(tree: ThinTree, block: number, count: number): void {
  if (count <= 2) {
    tree.delete(block)
    return
  }
  const value = Buffer.alloc(4)
  value.writeUInt32LE(count)
  tree.set(block, value)
}

function encodeEntry(space: SpaceMap, index: number): Buffer {
  const { bitmap, free, noneFreeBefore } = space.entry(index)
  const value = Buffer.alloc(INDEX_ENTRY)
  value.writeBigUInt64LE(BigInt(bitmap))
  value.writeUInt32LE(free, 8)
  value.writeUInt32LE(noneFreeBefore, 12)
  return value
}

function spaceRoot(space: SpaceMap, bitmaps: number, counts: ThinTree): SpaceRoot {
  return { blocks: space.blocks, allocated: space.allocated, bitmaps, counts: counts.root }
}

function encodeDetails({ mapped, transactionId, created, snapshotted }: Details): Buffer {
  const value = Buffer.alloc(24)
  value.writeBigUInt64LE(BigInt(mapped))
  value.writeBigUInt64LE(BigInt(transactionId), 8)
  value.writeUInt32LE(created, 16)
  value.writeUInt32LE(snapshotted, 20)
  return value
}

function decodeDetails(value: Buffer): Details {
  return {
    mapped: number(value, 0),
    transactionId: number(value, 8),
    created: value.readUInt32LE(16),
    snapshotted: value.readUInt32LE(20),
  }
}

/** The data block of a mapping. The bits below it hold the mapping's time. */
function blockOf(value: Buffer): number {
  return value.readUIntLE(3, 5)
}
