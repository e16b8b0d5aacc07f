/** @module-tag unit */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { outlineOf } from '#layerstack/conformance/index.js'
import { directory as directoryEntry, file, pax, tar } from '#layerstack/conformance/odd-layers/raw-tar.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { LayerApplier } from '#layerstack/tar/apply.js'
import { TarReader } from '#layerstack/tar/reader.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import { noRoot, notInstalled, unless } from '../support/needs.js'
import { removeTree } from '../support/mounts.js'

/** Entry types of old programs that GNU tar still reads. */
const TARS = {
  'a Solaris X header': tar(
    directoryEntry('long'),
    pax(
      [
        ['path', 'long/name'],
        ['mtime', '5'],
      ],
      'X',
    ),
    file('short', 'content'),
  ),
  'a GNU directory entry that lists its names': tar(
    file('d/', 'Ya\0Yb\0\0', { flag: 'D', mode: 0o750, magic: 'gnu' }),
    file('d/a', '1'),
    file('d/b', '2'),
  ),
}

let scratch: string

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-old-types-'))
})

afterAll(() => removeTree(scratch))

describe.each(Object.entries(TARS))('%s', (_, bytes) => {
  it('gives the tree that GNU tar extracts', unless(noRoot, notInstalled('tar')), () => {
    const directory = mkdtempSync(join(scratch, 'gnu-'))
    execFileSync('tar', ['-xpf', '-', '-C', directory], { input: bytes, stdio: ['pipe', 'ignore', 'ignore'] })
    chmodSync(directory, 0o755)
    const expected = new HostFs({ kind: 'host', root: directory })
    expect(outlineOf(applied(bytes))).toEqual(outlineOf(expected))
    expected.close()
  })
})

function applied(bytes: Buffer): MemoryFs {
  const tree = new MemoryFs()
  const reader = new TarReader()
  const applier = new LayerApplier({ syncFs: tree })
  for (const part of reader.push(bytes)) applier.part(part)
  for (const part of reader.end()) applier.part(part)
  applier.finish()
  return tree
}
