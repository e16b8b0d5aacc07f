/** Bytes in a tar block. */
export const BLOCK = 512

/** Returns how many zeros pad content of this size to a whole block. */
export function paddingLength(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}

export function isZeros(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false
  return true
}
