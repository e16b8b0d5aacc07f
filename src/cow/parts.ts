import type { ByteString } from '../fs/bytes.js'
import { u16 } from './key.js'
import type { Tree } from './tree.js'

/** Bytes of one part of a value that may be too long for one item. */
const PART = 1024

/** Writes a value of any length as several items. Their keys are `key` and the number of the part. */
export function setParts(tree: Tree, key: ByteString, value: Uint8Array): void {
  deleteParts(tree, key)
  let part = 0
  do {
    const piece = Buffer.from(value.subarray(part * PART, (part + 1) * PART))
    tree.set((key + u16(part)) as ByteString, piece)
    part++
  } while (part * PART < value.length)
}

export function getParts(tree: Tree, key: ByteString): Buffer | undefined {
  const parts = [...itemsOf(tree, key)].map(([, value]) => value)
  return parts.length === 0 ? undefined : Buffer.concat(parts)
}

/** Returns whether the value existed. */
export function deleteParts(tree: Tree, key: ByteString): boolean {
  let any = false
  for (const [each] of itemsOf(tree, key)) any = tree.delete(each)
  return any
}

function itemsOf(tree: Tree, key: ByteString) {
  return tree.range((key + u16(0)) as ByteString, (key + u16(0xffff)) as ByteString)
}
