import { createGzip } from 'node:zlib'
import type { Compression } from './compression.js'
import { through } from './through.js'
import { packZstd } from './zstd.js'

const CHUNK = 256 << 10

/** The same input gives the same bytes with one version of Node: headers contain no name and no time. */
export function compress(
  compression: Compression,
  source: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case 'none':
      return source
    case 'gzip':
      return through(createGzip({ chunkSize: CHUNK }), source)
    case 'zstd':
      return packZstd(source)
  }
}
