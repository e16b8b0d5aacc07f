import xxhash from 'xxhash-wasm'

/** xxHash64 of bytes. */
export type Checksum = (bytes: Uint8Array) => bigint

let loading: Promise<Checksum> | undefined

/** Loads the checksum function once. The function itself is synchronous. */
export function loadChecksum(): Promise<Checksum> {
  return (loading ??= xxhash().then(
    ({ h64Raw }) =>
      (bytes) =>
        h64Raw(bytes, 0n),
  ))
}
