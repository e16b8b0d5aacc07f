/** Blocks whose counts are stored together. */
export const GROUP = 256

const PLAIN = 0
const RUNS = 1

/** Encodes the counts of a group as an item of the space tree; see docs/cow-format.md. */
export function encodeGroup(counts: Uint32Array): Buffer {
  const bytes: number[] = [RUNS]
  for (let at = 0; at < GROUP;) {
    const count = counts[at] as number
    let end = at + 1
    while (end < GROUP && counts[end] === count) end++
    pushNumber(bytes, count)
    pushNumber(bytes, end - at)
    at = end
  }
  if (bytes.length <= 1 + 4 * GROUP) return Buffer.from(bytes)
  const plain = Buffer.alloc(1 + 4 * GROUP)
  plain[0] = PLAIN
  for (let at = 0; at < GROUP; at++) plain.writeUInt32LE(counts[at] as number, 1 + 4 * at)
  return plain
}

/** Returns `undefined` if the item is invalid. */
export function decodeGroup(item: Buffer): Uint32Array | undefined {
  const counts = new Uint32Array(GROUP)
  if (item[0] === PLAIN && item.length === 1 + 4 * GROUP) {
    for (let at = 0; at < GROUP; at++) counts[at] = item.readUInt32LE(1 + 4 * at)
    return counts
  }
  if (item[0] !== RUNS) return undefined
  let [at, index] = [1, 0]
  const number = (): number => {
    let value = 0
    for (let factor = 1; at < item.length; factor *= 128) {
      const byte = item[at++] as number
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
    }
    return value
  }
  while (at < item.length) {
    const count = number()
    const length = number()
    counts.fill(count, index, index + length)
    index += length
  }
  return index === GROUP ? counts : undefined
}

function pushNumber(bytes: number[], value: number): void {
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 0x80)
  bytes.push(rest)
}
