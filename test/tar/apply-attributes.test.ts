/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import { bytes, describeTree, directory, entry, file, FORMS, removeScratch, symlink, THEN } from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('attributes ($form)', ({ stack }) => {
  it('keep every mode bit, owners over 2^21, xattrs of any bytes and times to the nanosecond', () => {
    const layers = stack()
    const binary = '\0\xff\n='
    layers.apply([
      directory('d', { mode: 0o3777, uid: 3_000_000, gid: 4_000_000_000, mtimeNs: THEN + 123_456_789n }),
      file('d/suid', 'x', {
        mode: 0o6755,
        uid: 1,
        gid: 2,
        mtimeNs: THEN + 1n,
        xattrs: { 'user.b': binary },
      }),
      file('d/none', '', { mode: 0 }),
      symlink('d/s', 'nowhere', { uid: 9, gid: 10, mtimeNs: THEN + 7n }),
      entry('d/fifo', 'fifo', { mode: 0o620, uid: 3 }),
      entry('d/null', 'char', { mode: 0o666, device: { major: 1, minor: 3 } }),
      entry('d/sda', 'block', { mode: 0o660, gid: 6, device: { major: 8, minor: 300 } }),
    ])
    expect(describeTree(layers.view)).toEqual([
      `d directory 3777 3000000:4000000000 ${THEN + 123_456_789n} `,
      `d/fifo fifo 620 3:0 ${THEN} `,
      `d/none file 0 0:0 ${THEN} `,
      `d/null char 666 0:0 ${THEN} 1:3`,
      `d/s symlink 9:10 ${THEN + 7n} -> nowhere`,
      `d/sda block 660 0:6 ${THEN} 8:300`,
      `d/suid file 6755 1:2 ${THEN + 1n} user.b=${binary} x`,
    ])
  })

  it('keep times before 1970 and after 2038', () => {
    const layers = stack()
    const early = -1_000_000_000_500_000_000n
    const late = 5_000_000_000_000_000_000n
    layers.apply([file('early', '', { mtimeNs: early }), directory('late', { mtimeNs: late })])
    expect(layers.view.lstat(bytes('early')).mtimeNs).toBe(early)
    expect(layers.view.lstat(bytes('late')).mtimeNs).toBe(late)
  })

  it('of a directory keep its time when later entries change its content', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/a'), directory('d/e', { mtimeNs: THEN + 1n }), file('d/e/b')])
    expect(layers.view.lstat(bytes('d')).mtimeNs).toBe(THEN)
    expect(layers.view.lstat(bytes('d/e')).mtimeNs).toBe(THEN + 1n)
  })

  it('exclude the xattrs of overlayfs and `override_stat` of a tar', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/old')])
    layers.apply([
      directory('d', {
        xattrs: {
          'trusted.overlay.opaque': 'y',
          'user.overlay.opaque': 'y',
          'trusted.overlay.redirect': '/etc',
          'user.containers.override_stat': '0:0:04777',
        },
      }),
    ])
    expect(describeTree(layers.view)).toEqual([`d directory 755 0:0 ${THEN} `, `d/old file 644 0:0 ${THEN} `])
  })
})
