import { createGzip } from 'node:zlib'
import type { Compression } from './compression.js'
import { through } from './through.js'
import { packZstd } from './zstd.js'

const CHUNK = 256 << 10

/** Same input, same bytes, for one version of Node: no name and no time goes into the headers. */
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
