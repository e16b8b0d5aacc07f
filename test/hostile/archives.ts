import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import {
  base256,
  block,
  directory,
  END,
  file,
  hardLink,
  padded,
  pax,
  symlink,
  tar,
} from '#layerstack/conformance/odd-layers/raw-tar.js'

/** An archive of less than 10 MB that `load` must refuse, quickly and with little memory. */
export interface HostileArchive {
  readonly name: string
  readonly code: string
  make(): Buffer
}

const ZEROS = 16 << 20
const WRONG = `sha256:${'0'.repeat(64)}`

export const hostileArchives: readonly HostileArchive[] = [
  {
    name: 'a layer of 2 GB of zeros in gzip, with a wrong digest',
    code: 'LIMIT_EXCEEDED',
    make: () => dockerArchive([gzipZeros(2 ** 31)]),
  },
  {
    name: 'a layer of 192 MB of zeros in gzip, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([Buffer.concat([gzipZeros(192 << 20), gzipSync(END)])]),
  },
  {
    name: 'a layer of 40 GB of zeros in zstd, with a wrong digest',
    code: 'LIMIT_EXCEEDED',
    make: () => dockerArchive([zstdZeros(40 * 2 ** 30)]),
  },
  {
    name: 'a gzip archive that holds 2 GB of zeros',
    code: 'LIMIT_EXCEEDED',
    make: () => Buffer.concat([gzipSync(block({ name: 'x', size: 2 ** 31 })), gzipOf(zeros(), 128)]),
  },
  {
    name: 'a zstd archive that holds 40 GB of zeros',
    code: 'LIMIT_EXCEEDED',
    make: () => zstdZeros(40 * 2 ** 30),
  },
  {
    name: 'a gzip archive with a gzip layer of 100 GB of zeros',
    code: 'LIMIT_EXCEEDED',
    make: () => gzipSync(dockerArchive([gzipZeros(100 * 2 ** 30)])),
  },
  {
    name: 'a zstd layer of a million blocks of one byte with a window of 128 MiB',
    code: 'ARCHIVE_UNSUPPORTED',
    make: () => dockerArchive([zstdBlocks(1_000_000)]),
  },
  {
    name: 'a gzip archive with 2,000 names of 1 MiB',
    code: 'LIMIT_EXCEEDED',
    make: () => gzipOf(longName(1 << 20), 2000),
  },
  {
    name: 'a gzip archive with 100,000 names of 8 KB',
    code: 'LIMIT_EXCEEDED',
    make: () => gzipSync(Buffer.concat(Array.from({ length: 100_000 }, (_, index) => longName(8000, index)))),
  },
  {
    name: 'a layer with 2,000 names of 1 MiB, with a wrong digest',
    code: 'LIMIT_EXCEEDED',
    make: () => dockerArchive([gzipOf(longName(1 << 20), 2000)]),
  },
  {
    name: 'a layer of 400,000 entries, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([gzipSync(manyEntries(400_000))]),
  },
  {
    name: 'a layer of more entries than the limit',
    code: 'LIMIT_EXCEEDED',
    make: () => dockerArchive([gzipOf(manyEntries(100_000), 11)]),
  },
  {
    name: 'a layer whose paths imply millions of directories, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([deepPaths(2500, 900)]),
  },
  {
    name: '20,000 whiteouts in one directory, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () =>
      dockerArchive(
        whiteouts(2000, 20_000).map((layer) => gzipSync(layer)),
        [0],
      ),
  },
  {
    name: '10,000 opaque markers in one directory, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([...whiteouts(5000, 0), repeated(() => file('d/.wh..wh..opq'), 10_000)], [0]),
  },
  {
    name: '10,000 opaque markers at the root, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([...whiteouts(5000, 0, ''), repeated(() => file('.wh..wh..opq'), 10_000)], [0]),
  },
  {
    name: '4,000 hard links into one lower directory, and 4,000 opaque markers, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([...whiteouts(4000, 0), linksAndMarkers(4000)], [0]),
  },
  {
    name: 'a directory that is replaced 8,000 times beside 8,000 files, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([gzipSync(replacedDirectory(8000))]),
  },
  {
    name: 'files through a chain of long symlinks',
    code: 'LAYER_INVALID',
    make: () => dockerArchive([symlinkChain(5000)]),
  },
  {
    name: 'files through one long symlink, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([longSymlink(3000)]),
  },
  {
    name: 'one file with 100,000 names, with a wrong digest',
    code: 'DIGEST_MISMATCH',
    make: () => dockerArchive([gzipSync(Buffer.concat([file('f', 'x'), manyLinks(100_000), END]))]),
  },
  {
    name: 'sparse files of exabytes',
    code: 'LIMIT_EXCEEDED',
    make: () => dockerArchive([repeated((index) => hole(`f${index}`, 2 ** 50), 100)]),
  },
  {
    name: 'an entry with 40,000 PAX records',
    code: 'LIMIT_EXCEEDED',
    make: () => dockerArchive([tar(pax(xattrs(40_000)), file('f'))]),
  },
  {
    name: 'a sparse map of 100,000 pieces',
    code: 'LAYER_INVALID',
    make: () => dockerArchive([sparseMap()]),
  },
  {
    name: 'a manifest.json of nested lists',
    code: 'MANIFEST_INVALID',
    make: () => tar(file('manifest.json', '['.repeat(2_000_000) + ']'.repeat(2_000_000))),
  },
  {
    name: 'a manifest.json of 50 MB in gzip',
    code: 'LIMIT_EXCEEDED',
    make: () => gzipSync(tar(file('manifest.json', `["${'x'.repeat(50 << 20)}"]`))),
  },
  {
    name: 'a manifest.json that names one image 100,000 times',
    code: 'LAYER_MISSING',
    make: () => repeatedImages(100_000),
  },
  {
    name: 'a manifest.json and a config of 100,000 layers',
    code: 'LIMIT_EXCEEDED',
    make: () => configOf(Array.from({ length: 100_000 }, () => WRONG)),
  },
  {
    name: 'an index.json of 50,000 entries',
    code: 'LIMIT_EXCEEDED',
    make: () => ociIndex(50_000),
  },
]

function zeros(size = ZEROS): Buffer {
  return Buffer.alloc(size)
}

/** Concatenated gzip members are one stream. */
function gzipOf(content: Buffer, times: number): Buffer {
  const member = gzipSync(content, { level: 9 })
  return Buffer.concat(Array.from({ length: times }, () => member))
}

function gzipZeros(size: number): Buffer {
  return Buffer.concat([
    gzipSync(block({ name: 'zeros', size: base256(size, 12) })),
    gzipOf(zeros(), size / ZEROS),
  ])
}

/** RLE blocks of 128 KiB in one frame with a window of 1 MiB. */
function zstdZeros(size: number): Buffer {
  const blocks = Math.min(size / (128 << 10), 2_000_000)
  return zstdFrame(10 << 3, rleBlock(128 << 10), blocks)
}

/** Blocks of one byte each, in one frame with a window of 128 MiB. */
function zstdBlocks(count: number): Buffer {
  return zstdFrame(17 << 3, rleBlock(1), count)
}

function zstdFrame(windowDescriptor: number, piece: Buffer, count: number): Buffer {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, windowDescriptor])
  const name = block({ name: 'zeros', size: base256(2 ** 37, 12) })
  const raw = Buffer.alloc(3)
  raw.writeUIntLE(name.length << 3, 0, 3)
  return Buffer.concat([
    head,
    raw,
    name,
    ...Array.from({ length: count }, () => piece),
    Buffer.from([1, 0, 0]),
  ])
}

function rleBlock(size: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUIntLE((size << 3) | 2, 0, 3)
  return bytes
}

function longName(length: number, index = 0): Buffer {
  return Buffer.concat([pax([['path', `${index}-`.padEnd(length - 100, 'n/')]]), file('short')])
}

function manyEntries(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => file(`f${index}`)))
}

function manyLinks(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => hardLink(`l${index}`, 'f')))
}

function deepPaths(count: number, depth: number): Buffer {
  return repeated(
    (index) => Buffer.concat([pax([['path', `${index}/${'a/'.repeat(depth)}f`]]), file('x')]),
    count,
  )
}

/** A layer with files in one directory, and a layer with whiteouts in the same directory. */
function whiteouts(files: number, hidden: number, prefix = 'd/'): Buffer[] {
  const lower = [
    prefix === '' ? Buffer.alloc(0) : directory('d'),
    ...Array.from({ length: files }, (_, index) => file(`${prefix}f${index}`)),
    END,
  ]
  if (hidden === 0) return [Buffer.concat(lower)]
  return [Buffer.concat(lower), repeated((index) => file(`${prefix}.wh.f${index}`), hidden)]
}

function linksAndMarkers(count: number): Buffer {
  const links = Array.from({ length: count }, (_, index) => hardLink(`x${index}/l`, `d/f${index}`))
  return Buffer.concat([...links, repeated((index) => file(`x${index}/.wh..wh..opq`), count)])
}

function replacedDirectory(count: number): Buffer {
  const files = Array.from({ length: count }, (_, index) => file(`many/f${index}`))
  return Buffer.concat([...files, repeated((index) => (index % 2 === 0 ? directory('d') : file('d')), count)])
}

function repeated(piece: (index: number) => Buffer, count: number): Buffer {
  return Buffer.concat([...Array.from({ length: count }, (_, index) => piece(index)), END])
}

/** A chain of symlinks. Each one goes through 1,000 path components to the next. */
function symlinkChain(count: number): Buffer {
  const way = 'd/../'.repeat(500)
  const chain = Array.from({ length: 39 }, (_, index) =>
    Buffer.concat([pax([['linkpath', `${way}s${index + 1}`]]), symlink(`s${index}`, 'x')]),
  )
  return Buffer.concat([
    directory('d'),
    directory('s39'),
    ...chain,
    repeated((index) => file(`s0/f${index}`), count),
  ])
}

/** One symlink with fewer path components than the limit. */
function longSymlink(count: number): Buffer {
  const link = Buffer.concat([pax([['linkpath', `${'d/../'.repeat(500)}d`]]), symlink('s', 'x')])
  return Buffer.concat([directory('d'), link, repeated((index) => file(`s/f${index}`), count)])
}

function hole(name: string, size: number): Buffer {
  const records: [string, string][] = [
    ['GNU.sparse.size', `${size}`],
    ['GNU.sparse.numblocks', '0'],
    ['GNU.sparse.map', ''],
    ['GNU.sparse.major', '0'],
    ['GNU.sparse.minor', '1'],
  ]
  return Buffer.concat([pax(records), file(name)])
}

function xattrs(count: number): [string, string][] {
  return Array.from({ length: count }, (_, index) => [`SCHILY.xattr.user.${index}`, ''])
}

function sparseMap(): Buffer {
  const numbers = Array.from({ length: 100_000 }, (_, index) => `${2 * index}\n1`)
  const records: [string, string][] = [
    ['GNU.sparse.major', '1'],
    ['GNU.sparse.minor', '0'],
    ['GNU.sparse.realsize', '300000'],
  ]
  const map = padded(Buffer.from(`100001\n${numbers.join('\n')}\n`))
  return tar(pax(records), file('f', Buffer.concat([map, Buffer.alloc(100_000)])))
}

/** @param right indexes of layers whose DiffIDs in the config are right; the others are wrong */
export function dockerArchive(layers: readonly Buffer[], right: readonly number[] = []): Buffer {
  const diffIds = layers.map((layer, index) => (right.includes(index) ? diffIdOf(layer) : WRONG))
  const names = layers.map((_, index) => `${index}.tar`)
  const manifest = [{ Config: 'c.json', RepoTags: ['hostile:1'], Layers: names }]
  return tar(
    file('c.json', configText(diffIds)),
    ...layers.map((layer, index) => file(names[index] as string, layer)),
    file('manifest.json', JSON.stringify(manifest)),
  )
}

function configText(diffIds: readonly string[]): string {
  return JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } })
}

function configOf(diffIds: readonly string[]): Buffer {
  const manifest = [{ Config: 'c.json', RepoTags: null, Layers: diffIds.map(() => 'l') }]
  return gzipSync(tar(file('c.json', configText(diffIds)), file('manifest.json', JSON.stringify(manifest))))
}

function repeatedImages(count: number): Buffer {
  const images = Array.from({ length: count }, () => ({ Config: 'c.json', Layers: ['l'] }))
  return tar(file('c.json', configText([WRONG])), file('manifest.json', JSON.stringify(images)))
}

function ociIndex(count: number): Buffer {
  const manifests = Array.from({ length: count }, () => ({ digest: WRONG, size: 1 }))
  return tar(file('index.json', JSON.stringify({ manifests })))
}

/** The DiffID of an uncompressed or gzip layer. */
function diffIdOf(layer: Buffer): string {
  const plain = layer[0] === 0x1f ? gunzipSync(layer) : layer
  return `sha256:${createHash('sha256').update(plain).digest('hex')}`
}
