import type { ByteString } from '../fs/bytes.js'
import type { Address, Run } from './block.js'
import { CAPACITY, LARGEST_ITEM, NO_NODE, Node, type Pointer } from './node.js'
import type { Nodes } from './nodes.js'

/** What all trees of a store share. */
export interface Ground {
  readonly nodes: Nodes
  readonly space: TreeSpace
  /** Nodes of this generation may be changed in place. */
  readonly generation: number
  /** Counts changes to items. If the number is the same before and after a step, nothing changed. */
  changes: number
}

/** Which blocks of a store are in use, and how many pointers lead to each; see `Space`. */
export interface TreeSpace {
  /**
   * Call before a change. Afterwards `allocateNode` does not read the space tree, which may be the tree being changed.
   */
  prepare(): void
  allocateNode(): Address
  /** Frees a node that no commit has written. */
  giveBack(address: Address): void
  count(address: Address): number
  increment(address: Address, length?: number): void
  /** @returns the remaining count; a block with count 0 is free once `generation` is durable */
  decrement(address: Address, generation: number): number
}

/** The blocks that an item of a leaf points to. */
export type ContentOf = (key: ByteString, value: Buffer) => Run | undefined

export type Item = readonly [key: ByteString, value: Buffer]

const SMALL = CAPACITY / 4

/**
 * A B-tree with byte strings as keys. A change never alters shared nodes: it shadows the path from the root to the leaf
 * (Rodeh, "B-trees, shadowing, and clones"). Values must not change after they were passed in or returned.
 */
export class Tree {
  readonly #ground: Ground
  readonly #contentOf: ContentOf | undefined
  #root: Pointer

  constructor(ground: Ground, root: Pointer, contentOf?: ContentOf) {
    this.#ground = ground
    this.#root = root
    this.#contentOf = contentOf
  }

  get root(): Pointer {
    return this.#root
  }

  /** Replaces the tree with another state of itself. */
  moveTo(root: Pointer): void {
    this.#root = root
  }

  get(key: ByteString): Buffer | undefined {
    if (this.#root.address === 0) return undefined
    let node = this.#load(this.#root)
    while (node.level > 0) node = this.#child(node, node.childAt(key))
    const at = node.seek(key)
    return node.keys[at] === key ? node.value(at) : undefined
  }

  /** The item with the highest key below `key`. */
  before(key: ByteString): Item | undefined {
    return this.#root.address === 0 ? undefined : this.#before(this.#load(this.#root), key)
  }

  /**
   * Items from `from` up to, but excluding, `to`. The tree may change during iteration; items still ahead reflect the
   * change.
   */
  *range(from: ByteString, to: ByteString): Generator<Item, void, void> {
    for (let key = from; this.#root.address !== 0;) {
      const leaf = this.#leafWith(this.#load(this.#root), key)
      if (leaf === undefined) return
      const { changes } = this.#ground
      for (let at = leaf.seek(key); at < leaf.keys.length && changes === this.#ground.changes; at++) {
        const found = leaf.keys[at] as ByteString
        if (found >= to) return
        yield [found, leaf.value(at)]
        key = `${found}\0` as ByteString
      }
    }
  }

  set(key: ByteString, value: Buffer): void {
    if (key.length + value.length > LARGEST_ITEM) throw new RangeError('the item is too large for a node')
    this.#ground.space.prepare()
    if (this.#root.address === 0) {
      const leaf = this.#newNode(0)
      leaf.insertItem(0, key, value)
      this.#root = pointerTo(leaf)
      return
    }
    const root = this.#writableRoot()
    const split = this.#insert(root, key, value)
    if (split === undefined) return
    const above = this.#newNode(root.level + 1)
    for (const node of [root, split]) above.insertChild(above.keys.length, node)
    this.#root = pointerTo(above)
  }

  delete(key: ByteString): boolean {
    if (this.get(key) === undefined) return false
    this.#ground.space.prepare()
    let root = this.#writableRoot()
    this.#remove(root, key)
    while (isNeedless(root)) {
      this.#root = root.children[0] as Pointer
      this.#discard(root)
      root = this.#load(this.#root)
      if (isNeedless(root)) root = this.#writableRoot()
    }
    if (root.keys.length === 0) {
      this.#discard(root)
      this.#root = NO_NODE
    }
    return true
  }

  /**
   * Returns the root for a second tree with the same content. The caller must begin a new generation, so that neither
   * tree sees changes of the other.
   */
  share(): Pointer {
    this.#ground.space.increment(this.#root.address)
    return this.#root
  }

  /**
   * Removes the last part of the tree: a leaf, or a whole subtree that other trees share.
   * @returns whether anything is left
   */
  shrink(): boolean {
    const { space, generation } = this.#ground
    const root = this.#root
    if (root.address === 0) return false
    space.prepare()
    if (space.count(root.address) > 1) {
      space.decrement(root.address, generation)
      this.#root = NO_NODE
    } else if (this.#load(root).level === 0) {
      this.#dropLeaf(root)
      this.#root = NO_NODE
    } else {
      const node = this.#writableRoot()
      this.#shrinkBelow(node)
      if (node.children.length === 0) {
        this.#discard(node)
        this.#root = NO_NODE
      }
    }
    this.#ground.changes++
    return this.#root.address !== 0
  }

  #before(node: Node, key: ByteString): Item | undefined {
    if (node.level === 0) {
      const at = node.seek(key) - 1
      return at < 0 ? undefined : [node.keys[at] as ByteString, node.value(at)]
    }
    for (let at = node.childAt(key); at >= 0; at--) {
      const found = this.#before(this.#child(node, at), key)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The first leaf with a key that is not below `key`. */
  #leafWith(node: Node, key: ByteString): Node | undefined {
    if (node.level === 0) return node.seek(key) < node.keys.length ? node : undefined
    for (let at = node.childAt(key); at < node.children.length; at++) {
      const found = this.#leafWith(this.#child(node, at), key)
      if (found !== undefined) return found
    }
    return undefined
  }

  #insert(node: Node, key: ByteString, value: Buffer): Node | undefined {
    const at = node.level === 0 ? this.#insertItem(node, key, value) : this.#insertBelow(node, key, value)
    return node.size > CAPACITY ? this.#split(node, at === node.keys.length - 1) : undefined
  }

  #insertItem(leaf: Node, key: ByteString, value: Buffer): number {
    const at = leaf.seek(key)
    this.#ground.changes++
    if (leaf.keys[at] === key) {
      leaf.setValue(at, value)
      return 0
    }
    leaf.insertItem(at, key, value)
    return at
  }

  #insertBelow(node: Node, key: ByteString, value: Buffer): number {
    const at = node.childAt(key)
    const first = node.keys[at] as ByteString
    if (key < first) {
      node.size += key.length - first.length
      node.keys[at] = key
    }
    const split = this.#insert(this.#writableChild(node, at), key, value)
    if (split === undefined) return 0
    node.insertChild(at + 1, split)
    return at + 1
  }

  /** Splits at the end if the last key was inserted there, so that ascending keys fill their nodes. */
  #split(node: Node, atEnd: boolean): Node {
    const right = this.#newNode(node.level)
    const cut = atEnd ? node.keys.length - 1 : halfOf(node)
    right.takeFrom(node, cut)
    return right
  }

  #remove(node: Node, key: ByteString): void {
    if (node.level === 0) {
      this.#ground.changes++
      return node.remove(node.seek(key))
    }
    const at = node.childAt(key)
    const child = this.#writableChild(node, at)
    this.#remove(child, key)
    if (child.keys.length === 0) {
      node.remove(at)
      this.#discard(child)
    } else if (child.size < SMALL) {
      this.#join(node, at + 1 < node.children.length ? at : at - 1)
    }
  }

  /** Merges two neighboring nodes if they fit in one. */
  #join(node: Node, at: number): void {
    if (at < 0 || at + 1 >= node.children.length) return
    const [left, right] = [node.children[at], node.children[at + 1]] as [Pointer, Pointer]
    if (this.#load(left).size + this.#load(right).size > CAPACITY - SMALL / 2) return
    const target = this.#writableChild(node, at)
    const source = this.#writableChild(node, at + 1)
    target.takeFrom(source, 0)
    node.remove(at + 1)
    this.#discard(source)
  }

  #shrinkBelow(node: Node): void {
    const { space, generation } = this.#ground
    const last = node.children.length - 1
    const pointer = node.children[last] as Pointer
    if (space.count(pointer.address) > 1) {
      space.decrement(pointer.address, generation)
    } else if (node.level === 1) {
      this.#dropLeaf(pointer)
    } else {
      const child = this.#writableChild(node, last)
      this.#shrinkBelow(child)
      if (child.children.length > 0) return
      this.#discard(child)
    }
    node.remove(last)
  }

  #dropLeaf(pointer: Pointer): void {
    const { space, generation, nodes } = this.#ground
    for (const { address, length } of this.#contents(this.#load(pointer))) {
      for (let at = address; at < address + length; at++) space.decrement(at, generation)
    }
    space.decrement(pointer.address, generation)
    nodes.forget(pointer)
  }

  #writableRoot(): Node {
    const node = this.#writable(this.#root)
    this.#root = pointerTo(node)
    return node
  }

  #writableChild(parent: Node, at: number): Node {
    this.#child(parent, at)
    const child = this.#writable(parent.children[at] as Pointer)
    parent.children[at] = pointerTo(child)
    return child
  }

  /** Returns the node to change in place of this one: itself, or its shadow. */
  #writable(pointer: Pointer): Node {
    const { nodes, space, generation } = this.#ground
    const node = this.#load(pointer)
    if (node.generation === generation) {
      nodes.changed(node)
      return node
    }
    const address = space.allocateNode()
    const shadow =
      space.count(pointer.address) > 1
        ? this.#copied(node, address)
        : node.moved({ address, generation }, false)
    if (space.decrement(pointer.address, generation) === 0) nodes.forget(pointer)
    nodes.changed(shadow)
    return shadow
  }

  /** Copies a shared node. The original stays in use, so the count of everything it points to grows by one. */
  #copied(node: Node, address: number): Node {
    const { space, generation } = this.#ground
    for (const child of node.children) space.increment(child.address)
    for (const run of this.#contents(node)) space.increment(run.address, run.length)
    return node.moved({ address, generation }, true)
  }

  #contents(node: Node): Run[] {
    if (node.level > 0 || this.#contentOf === undefined) return []
    const runs: Run[] = []
    for (const [at, key] of node.keys.entries()) {
      const run = this.#contentOf(key, node.value(at))
      if (run !== undefined) runs.push(run)
    }
    return runs
  }

  #newNode(level: number): Node {
    const { nodes, space, generation } = this.#ground
    const node = new Node(level, { address: space.allocateNode(), generation })
    nodes.changed(node)
    return node
  }

  /** Frees a node of this generation that nothing points to any more. */
  #discard(node: Node): void {
    this.#ground.nodes.forget(node)
    this.#ground.space.giveBack(node.address)
  }

  /** Loads a child, which must be one level below its parent, so every descent ends. */
  #child(parent: Node, at: number): Node {
    const pointer = parent.children[at]
    if (pointer === undefined) throw this.#ground.nodes.damaged(parent, 'a child is missing')
    const child = this.#load(pointer)
    if (child.level === parent.level - 1) return child
    throw this.#ground.nodes.damaged(pointer, 'wrong tree level')
  }

  #load(pointer: Pointer): Node {
    return this.#ground.nodes.load(pointer)
  }
}

function isNeedless(root: Node): boolean {
  return root.level > 0 && root.children.length === 1
}

function pointerTo({ address, generation }: Pointer): Pointer {
  return { address, generation }
}

function halfOf(node: Node): number {
  let size = 0
  for (let at = 0; at < node.keys.length - 1; at++) {
    size += node.itemSize(at)
    if (size >= node.size / 2) return at + 1
  }
  return node.keys.length - 1
}
