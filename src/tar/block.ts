/** A tar is made of blocks of this many bytes. */
export const BLOCK = 512

/** How many zeros follow content of this size, up to the next block. */
export function paddingLength(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}

export function isZeros(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false
  return true
}
