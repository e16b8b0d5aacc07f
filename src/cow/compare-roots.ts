import type { ByteString } from '../fs/bytes.js'
import type { Node, Pointer } from './node.js'
import type { Nodes } from './nodes.js'

/** A tree, and the store of its nodes. */
export interface Rooted {
  readonly nodes: Nodes
  readonly root: Pointer
}

/**
 * Yields, ascending, the keys whose items differ between two trees. Does not read nodes that both trees share.
 * @param common nodes up to this generation are the same in both. In trees of one store, all nodes are. In trees of two
 *   devices, those older than the snapshot that separated them are.
 */
export function* differentKeys(a: Rooted, b: Rooted, common = Infinity): Generator<ByteString, void, void> {
  const [ours, theirs] = [new Cursor(a), new Cursor(b)]
  while (!ours.done || !theirs.done) {
    const [key, other] = [ours.key, theirs.key]
    if (ours.isItem && (theirs.done || key < other)) {
      yield key
      ours.next()
    } else if (theirs.isItem && (ours.done || other < key)) {
      yield other
      theirs.next()
    } else if (ours.isItem && theirs.isItem) {
      if (!(ours.value as Buffer).equals(theirs.value as Buffer)) yield key
      ours.next()
      theirs.next()
    } else if (ours.isSameNode(theirs, common)) {
      ours.next()
      theirs.next()
    } else if (theirs.done || ours.height > theirs.height) ours.descend()
    else if (ours.done || theirs.height > ours.height) theirs.descend()
    else {
      if (key <= other) ours.descend()
      if (other <= key) theirs.descend()
    }
  }
}

/** A position in a tree: an item, or a node that was not entered yet. */
class Cursor {
  readonly #nodes: Nodes
  /** From the root down; the last element is the cursor's position. */
  readonly #path: { readonly node: Node; at: number }[] = []
  /** Set until the root is entered. */
  #root: Pointer | undefined
  #rootLevel = 0

  constructor({ nodes, root }: Rooted) {
    this.#nodes = nodes
    if (root.address === 0) return
    this.#root = root
    this.#rootLevel = nodes.load(root).level + 1
  }

  get done(): boolean {
    return this.#root === undefined && this.#path.length === 0
  }

  /** 0 for an item, otherwise the number of levels above the items. */
  get height(): number {
    return this.#root === undefined ? (this.#path.at(-1)?.node.level ?? 0) : this.#rootLevel
  }

  get isItem(): boolean {
    return !this.done && this.height === 0
  }

  get key(): ByteString {
    const place = this.#path.at(-1)
    return place?.node.keys[place.at] ?? ('' as ByteString)
  }

  get value(): Buffer | undefined {
    const place = this.#path.at(-1)
    return place?.node.value(place.at)
  }

  isSameNode(other: Cursor, common: number): boolean {
    const [ours, theirs] = [this.#child, other.#child]
    if (ours === undefined || ours.generation > common) return false
    return ours.address === theirs?.address && ours.generation === theirs.generation
  }

  descend(): void {
    const child = this.#child
    if (child === undefined) return
    this.#root = undefined
    this.#path.push({ node: this.#nodes.load(child), at: 0 })
  }

  next(): void {
    this.#root = undefined
    for (let place = this.#path.at(-1); place !== undefined; place = this.#path.at(-1)) {
      if (++place.at < place.node.keys.length) return
      this.#path.pop()
    }
  }

  get #child(): Pointer | undefined {
    if (this.#root !== undefined) return this.#root
    const place = this.#path.at(-1)
    return place?.node.children[place.at]
  }
}
