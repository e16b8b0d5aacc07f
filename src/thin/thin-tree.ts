import { roomIn, type ThinNode } from './thin-node.js'

/** Limit of a tree's levels. Five are enough for all keys of a device. */
const MOST_LEVELS = 16

/** Storage for the nodes of trees. */
export interface ThinNodes {
  /** Creates the error for a node that cannot be at this address. */
  damaged(address: number, what: string): Error
  load(address: number, valueSize: number): ThinNode
  /** Adds a new node. It may be changed until the commit. */
  add(leaf: boolean, valueSize: number): ThinNode
  /**
   * Returns the node to change in place of this one: itself, or its shadow. Calls `shared` with the old node if other
   * trees still use it.
   */
  writable(address: number, valueSize: number, shared: (node: ThinNode) => void): ThinNode
  /** Drops one reference to the node. Returns whether any remain. */
  release(address: number): boolean
  increment(address: number): void
}

/** How to count references to what values point to. */
export interface ThinValues {
  readonly size: number
  increment?(value: Buffer): void
  decrement?(value: Buffer): void
}

/**
 * A B-tree of the persistent-data library. Changed nodes are shadowed, references are counted, and every node except
 * the root is at least a third full. Callers release values that they replace or delete.
 */
export class ThinTree {
  readonly #nodes: ThinNodes
  readonly #values: ThinValues
  root: number

  constructor(nodes: ThinNodes, values: ThinValues, root?: number) {
    this.#nodes = nodes
    this.#values = values
    this.root = root ?? nodes.add(true, values.size).address
  }

  get(key: number): Buffer | undefined {
    let node = this.#load(this.root)
    for (let depth = 1; !node.leaf; depth++) node = this.#child(node, childAt(node, key), depth)
    const at = lowerBound(node, key)
    return node.keys[at] === key ? node.values.at(at) : undefined
  }

  *items(): Generator<readonly [key: number, value: Buffer]> {
    yield* this.#items(this.#load(this.root), 1)
  }

  set(key: number, value: Buffer): void {
    const root = this.#writable(this.root)
    this.root = root.address
    const split = this.#insert(root, key, value)
    if (split === undefined) return
    const above = this.#nodes.add(false, this.#values.size)
    above.keys.push(root.keys[0] as number, split.keys[0] as number)
    above.children.push(root.address, split.address)
    this.root = above.address
  }

  delete(key: number): boolean {
    if (this.get(key) === undefined) return false
    let root = this.#writable(this.root)
    this.#remove(root, key)
    while (!root.leaf && root.children.length === 1) {
      const [child] = root.children as [number]
      this.#nodes.release(root.address)
      root = this.#writable(child)
    }
    this.root = root.address
    return true
  }

  /** Reads every node that `drop` would read, so that damage shows before anything is released. */
  loadOwn(isOwn: (address: number) => boolean): void {
    this.#loadOwn(this.#load(this.root), 1, isOwn)
  }

  /** Releases the whole tree, except what other trees share. */
  drop(): void {
    this.#drop(this.root)
  }

  *#items(node: ThinNode, depth: number): Generator<readonly [number, Buffer]> {
    for (const [at, key] of node.keys.entries()) {
      if (node.leaf) yield [key, node.values.at(at)]
      else yield* this.#items(this.#child(node, at, depth), depth + 1)
    }
  }

  #loadOwn(node: ThinNode, depth: number, isOwn: (address: number) => boolean): void {
    if (!isOwn(node.address)) return
    for (const at of node.children.keys()) this.#loadOwn(this.#child(node, at, depth), depth + 1, isOwn)
  }

  #drop(address: number): void {
    const node = this.#load(address)
    if (this.#nodes.release(address)) return
    for (const child of node.children) this.#drop(child)
    for (const value of node.values) this.#values.decrement?.(value)
  }

  #insert(node: ThinNode, key: number, value: Buffer): ThinNode | undefined {
    if (node.leaf) {
      const at = lowerBound(node, key)
      if (node.keys[at] === key) {
        node.values.set(at, value)
        return undefined
      }
      node.keys.splice(at, 0, key)
      node.values.insert(at, value)
    } else {
      const at = childAt(node, key)
      if (key < (node.keys[at] as number)) node.keys[at] = key
      const split = this.#insert(this.#writableChild(node, at), key, value)
      if (split === undefined) return undefined
      node.keys.splice(at + 1, 0, split.keys[0] as number)
      node.children.splice(at + 1, 0, split.address)
    }
    return node.keys.length > this.#room(node) ? this.#split(node) : undefined
  }

  #split(node: ThinNode): ThinNode {
    const right = this.#nodes.add(node.leaf, this.#values.size)
    move(node, right, Math.floor(node.keys.length / 2))
    return right
  }

  #remove(node: ThinNode, key: number): void {
    if (node.leaf) return removeAt(node, lowerBound(node, key))
    const at = childAt(node, key)
    const child = this.#writableChild(node, at)
    this.#remove(child, key)
    if (child.keys.length < this.#room(child) / 3) this.#rebalance(node, at)
  }

  /** Merges two neighboring nodes, or divides their items evenly. */
  #rebalance(node: ThinNode, at: number): void {
    if (node.children.length < 2) return
    const first = at + 1 < node.children.length ? at : at - 1
    const left = this.#writableChild(node, first)
    const right = this.#writableChild(node, first + 1)
    const total = left.keys.length + right.keys.length
    move(right, left, 0)
    if (total <= this.#room(left)) {
      removeAt(node, first + 1)
      this.#nodes.release(right.address)
    } else {
      move(left, right, Math.floor(total / 2))
      node.keys[first + 1] = right.keys[0] as number
    }
  }

  #writableChild(parent: ThinNode, at: number): ThinNode {
    const child = this.#writable(parent.children[at] as number)
    parent.children[at] = child.address
    return child
  }

  #writable(address: number): ThinNode {
    return this.#nodes.writable(address, this.#values.size, (node) => {
      for (const child of node.children) this.#nodes.increment(child)
      for (const value of node.values) this.#values.increment?.(value)
    })
  }

  /**
   * Loads a child. Its keys must lie between its key in the parent and the next one there. So a walk meets each key
   * once, and ends.
   */
  #child(parent: ThinNode, at: number, depth: number): ThinNode {
    const address = parent.children[at]
    if (address === undefined) throw this.#nodes.damaged(parent.address, 'a child is missing')
    const child = this.#load(address)
    const [first, last] = [child.keys[0], child.keys.at(-1)]
    const [low, high] = [parent.keys[at] as number, parent.keys[at + 1] ?? Infinity]
    const fits = first !== undefined && last !== undefined && first >= low && last < high
    if (depth < MOST_LEVELS && fits) return child
    throw this.#nodes.damaged(address, 'it does not fit below its parent')
  }

  #load(address: number): ThinNode {
    return this.#nodes.load(address, this.#values.size)
  }

  #room(node: ThinNode): number {
    return roomIn(node.leaf, this.#values.size)
  }
}

/** The index of the first key that is not below `key`. */
function lowerBound({ keys }: ThinNode, key: number): number {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as number) < key) low = middle + 1
    else high = middle
  }
  return low
}

function childAt(node: ThinNode, key: number): number {
  const at = lowerBound(node, key)
  return at > 0 && node.keys[at] !== key ? at - 1 : at
}

function move(from: ThinNode, to: ThinNode, start: number): void {
  to.keys.push(...from.keys.splice(start))
  to.values.takeFrom(from.values, start)
  to.children.push(...from.children.splice(start))
}

function removeAt(node: ThinNode, at: number): void {
  node.keys.splice(at, 1)
  if (node.leaf) node.values.remove(at)
  else node.children.splice(at, 1)
}
