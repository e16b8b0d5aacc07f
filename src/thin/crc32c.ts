/** CRC-32C as the kernel's persistent-data library computes it: not inverted at the end, but XORed with `xor`. */
export function crc32c(bytes: Uint8Array, xor: number): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) crc = ((TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8)) >>> 0
  return (crc ^ xor) >>> 0
}

const POLYNOMIAL = 0x82f6_3b78
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  return crc >>> 0
})
