import { tarOf } from '#layerstack/conformance/tar-of.js'

/** The two layers below every sequence: objects of every kind, some of which the second layer hides. */
export const FIXTURE = [
  tarOf([
    { name: 'a/' },
    { name: 'a/a', content: 'low a', mode: 0o640, uid: 12, gid: 34 },
    { name: 'a/b/', uid: 56, gid: 78 },
    { name: 'a/b/a', content: 'low a/b/a' },
    { name: 'a/b/c', content: 'low a/b/c'.repeat(600) },
    { name: 'a/c', type: 'link', linkName: 'a/a' },
    { name: 'a/d', content: 'set-id', mode: 0o4755 },
    { name: 'b', content: 'low b', xattrs: { 'user.one': '\x00\xff' } },
    { name: 'c', type: 'symlink', linkName: 'a/b' },
    { name: 'd/', mode: 0o1777, xattrs: { 'user.one': 'directory' } },
    { name: 'd/a/' },
    { name: 'd/a/b', content: 'low d/a/b' },
    { name: 'd/b', type: 'symlink', linkName: '../b', uid: 12 },
    { name: 'd/c', type: 'fifo', mode: 0o622 },
    { name: 'd/d', type: 'char', device: { major: 1, minor: 3 } },
  ]),
  tarOf([
    { name: 'a/' },
    { name: 'a/.wh.d' },
    { name: 'a/b/' },
    { name: 'a/b/.wh..wh..opq' },
    { name: 'a/b/b', content: 'mid a/b/b' },
    { name: 'b', content: 'mid b' },
    { name: 'd/' },
    { name: 'd/a/' },
    { name: 'd/a/c', content: 'mid d/a/c' },
    { name: 'd/a/d/' },
  ]),
] as const
