/**
 * Names are bytes. Inside the library, a name or a path is a `ByteString`: a string whose character codes are its bytes
 * (latin1). Comparing, splitting, sorting and hashing therefore work on bytes and cost the same as on strings.
 */
export type ByteString = string & { readonly __bytes: unique symbol }

/** A path from a caller. A string stands for its UTF-8 bytes. */
export type PathLike = string | Uint8Array

// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/

export function toBytes(path: PathLike): ByteString {
  if (typeof path === 'string') {
    return (ASCII.test(path) ? path : Buffer.from(path, 'utf8').toString('latin1')) as ByteString
  }
  return Buffer.from(path.buffer, path.byteOffset, path.byteLength).toString('latin1') as ByteString
}

export function bytesToBuffer(bytes: ByteString): Buffer {
  return Buffer.from(bytes, 'latin1')
}

/** For display only: invalid UTF-8 becomes U+FFFD. Never use it to access a file. */
export function bytesToText(bytes: ByteString): string {
  return ASCII.test(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8')
}

/** For `node:fs`, which encodes a string as UTF-8 and passes a Buffer through unchanged. */
export function bytesToHost(bytes: ByteString): string | Buffer {
  return ASCII.test(bytes) ? bytes : Buffer.from(bytes, 'latin1')
}

/** Byte order. Every sorted listing and every tar that this library writes uses it. */
export function compareBytes(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Joins a directory and a name. The root is `''`. */
export function joinBytes(directory: ByteString, name: ByteString): ByteString {
  return (directory === '' ? name : `${directory}/${name}`) as ByteString
}

/** `a/b/c` → `a/b`; `a` → `''`, the root. */
export function parentOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/')
  return (slash < 0 ? '' : path.slice(0, slash)) as ByteString
}

export function baseOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1) as ByteString
}
