/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { HostFs } from '#layerstack/fs/host/host-fs.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import { LayerApplier } from '#layerstack/tar/apply.js'
import {
  bytes,
  contentAt,
  describeTree,
  directory,
  entry,
  feed,
  file,
  FORMS,
  link,
  outline,
  partsOf,
  removeScratch,
  symlink,
  THEN,
} from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('content ($form)', ({ stack }) => {
  it('of sparse files is written at the offsets of their map', () => {
    const layers = stack()
    const pieces = [
      { offset: 2, length: 3 },
      { offset: 8, length: 4 },
    ]
    const sparse = { size: 15, pieces, mapInContent: false }
    const { size } = layers.apply([file('s', 'abcDEFG', { sparse })])
    expect(contentAt(layers.view, bytes('s'))).toBe('\0\0abc\0\0\0DEFG\0\0\0')
    expect(size).toBe(15)
  })

  it('of entries with unknown types is ignored, and so are the entries', () => {
    const layers = stack()
    layers.apply([entry('socket', 'unknown', {}, 'whatever'), file('a', 'x')])
    expect(outline(layers.view)).toEqual(['a x'])
  })

  it('is counted in bytes of regular files only', () => {
    const layers = stack()
    expect(layers.apply([file('a', '12345'), link('b', 'a'), directory('d'), file('c', '678')]).size).toBe(8)
  })

  it('is read from the location that `contents` returns', () => {
    const source = new MemoryFs()
    const kept = source.open(bytes('kept'), 0o102, 0o600)
    kept.write(Buffer.from('from elsewhere'), 0)
    const layers = stack()
    const contents = () => ({ fs: source, path: bytes('kept'), size: 14 })
    layers.apply([file('a', 'not this here.', { mode: 0o640 }), link('b', 'a')], { contents })
    expect(describeTree(layers.view)).toEqual([
      `a file 640 0:0 ${THEN} from elsewhere`,
      `b file 640 0:0 ${THEN} = a`,
    ])
  })
})

describe.each(FORMS)('LayerApplier ($form)', ({ stack }) => {
  it('reports content as stored only if the file of that name holds it', () => {
    const layers = stack()
    layers.apply([directory('d'), file('lower')])
    const entries = [
      ...[file('./a', 'one'), file('x/../d/b', 'two'), symlink('s', 'd'), file('s/through', 'three')],
      ...[entry('l', 'link', { linkName: bytes('a'), size: 4 }, 'what'), file('.wh.lower', 'noise')],
      ...[entry('u', 'unknown', {}, 'skipped'), entry('dir', 'directory', {}, 'odd'), file('empty')],
      file('sp', 'x', { sparse: { size: 2, pieces: [{ offset: 1, length: 1 }], mapInContent: false } }),
    ]
    const { stored } = layers.apply(entries)
    const withContent = entries
      .map((one, index) => [one, stored[index]] as const)
      .filter(([one]) => one.content.length > 0)
    expect(withContent.map(([one, answer]) => `${one.header.name} ${answer}`)).toEqual([
      './a true',
      'x/../d/b true',
      's/through false',
      'l false',
      '.wh.lower false',
      'u false',
      'dir false',
      'sp false',
    ])
    expect(contentAt(layers.files, bytes('a'))).toBe('one')
    expect(contentAt(layers.files, bytes('d/b'))).toBe('two')
  })

  it('calls `onDisplace` with stored content before a later entry destroys it', () => {
    const layers = stack()
    const displaced: string[] = []
    layers.apply(
      [
        ...[
          file('a', 'first'),
          directory('d'),
          file('d/deep/b', 'second'),
          file('c', 'third'),
          link('l', 'c'),
        ],
        ...[file('a', 'newer'), symlink('d', 'c'), file('l', 'fourth'), file('empty'), file('empty', 'x')],
      ],
      {
        onDisplace: (number, readOld) =>
          displaced.push(`${number} ${Buffer.concat([...readOld()]).toString()}`),
      },
    )
    expect(displaced).toEqual(['0 first', '2 second'])
    expect(outline(layers.view)).toEqual(['a newer', 'c third', 'd -> c', 'empty x', 'l fourth'])
  })
})

describe('a MemoryFs that refers to the contents of a layer', () => {
  it('finds content under another hard link after an entry replaced the first name', () => {
    const entries = [
      ...[file('a', 'one'), link('b', 'a'), link('c', 'b'), file('a', 'two'), file('c', 'three')],
      ...[file('d/e', 'four'), link('f', 'd/e'), symlink('d', 'b')],
    ]
    const layer = FORMS.at(-1)?.stack()
    layer?.apply(entries)
    const files = layer?.files as HostFs
    const model = new MemoryFs()
    const contents = (header: { size: number }, path: ByteString) => ({ fs: files, path, size: header.size })
    feed(new LayerApplier({ syncFs: model }, { contents }), partsOf(entries))
    expect(outline(model)).toEqual(['a two', 'b one', 'c three', 'd -> b', 'f four'])
    expect(outline(model)).toEqual(outline(files))
  })
})
