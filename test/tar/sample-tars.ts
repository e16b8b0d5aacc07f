import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pack } from 'tar-stream'
import { oddLayers } from '#layerstack/conformance/index.js'
import { file, tar } from '#layerstack/conformance/odd-layers/raw-tar.js'
import { findProgram } from '../support/program.js'
import { notInstalled, type Reason } from '../support/needs.js'

/** A tar in the form that a program writes. */
export interface SampleTar {
  readonly what: string
  /** Why this machine cannot write the tar. */
  readonly reason?: Reason
  /** Python's tarfile misreads the tar. */
  readonly misreadByPython?: true
  write(): Promise<Buffer> | Buffer
}

const isRoot = process.getuid?.() === 0
const ATTRIBUTES = ['--xattrs', '--xattrs-include=user.*', '--acls']
const GNU_FORMATS = ['v7', 'ustar', 'oldgnu', 'gnu', 'pax'] as const
const SPARSE_VERSIONS = ['0.0', '0.1', '1.0']

export const byPrograms: readonly SampleTar[] = [
  ...GNU_FORMATS.map((format) => gnuTar(`format ${format}`, isOld(format), [`--format=${format}`])),
  ...(['oldgnu', 'gnu', 'pax'] as const).map((format) =>
    gnuTar(`format ${format}, sparse`, false, [`--format=${format}`, '--sparse', ...ATTRIBUTES]),
  ),
  ...SPARSE_VERSIONS.map((version) =>
    gnuTar(`format pax, sparse version ${version}`, false, [
      '--format=pax',
      '--sparse',
      `--sparse-version=${version}`,
      ...ATTRIBUTES,
    ]),
  ),
  gnuTar('label', false, ['--format=gnu', '--label=VOLUME']),
  {
    ...gnuTar('incremental', false, ['--format=gnu', '--incremental']),
    // It reads the times in the header block as the start of the name.
    misreadByPython: true,
  },
  gnuTar('absolute names', false, ['--format=gnu', '-P', '--transform=s,^[.],/,']),
  volumes(),
  ...['ustar', 'pax', 'paxr', 'gnutar', 'v7'].map(bsdtar),
  ...['USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT'].map(python),
  busybox(),
  { what: 'tar-stream', write: tarStream },
]

/** Tars that none of these programs writes. */
export const byHand: readonly SampleTar[] = [
  ...oddLayers.map(({ name, layers }) => ({ what: name, write: () => layers[0] as Buffer })),
  {
    what: 'a large file that is replaced',
    write: () => tar(file('a', 'f'.repeat(3 << 20)), file('b', 'b'), file('a', 's')),
  },
  {
    what: 'a directory with large files that a file replaces',
    write: () => tar(file('d/one', '1'.repeat(2 << 20)), file('d/two', '22'), file('d', 'no more')),
  },
]

function isOld(format: string): boolean {
  return format === 'v7' || format === 'ustar'
}

function gnuTar(how: string, old: boolean, options: readonly string[]): SampleTar {
  return {
    what: `GNU tar, ${how}`,
    reason: notInstalled('tar'),
    write: () => inTree(old, (tree) => output('tar', [...options, '-cf', '-', '-C', tree, '.'])),
  }
}

/** The second volume begins inside a file. */
function volumes(): SampleTar {
  return {
    what: 'GNU tar, second volume',
    reason: notInstalled('tar'),
    write: () =>
      inTree(true, (tree) => {
        writeFileSync(join(tree, 'large'), Buffer.alloc(30_000, 'large'))
        const [one, two] = ['one', 'two'].map((name) => join(tree, '..', name)) as [string, string]
        const options = ['--format=gnu', '-M', '--tape-length=20', '-f', one, '-f', two, '-f', '/dev/null']
        execFileSync('tar', ['-c', ...options, '-C', tree, 'large', 'dir'])
        return readFileSync(two)
      }),
  }
}

function bsdtar(format: string): SampleTar {
  return {
    what: `bsdtar, format ${format}`,
    reason: notInstalled('bsdtar'),
    write: () =>
      inTree(isOld(format), (tree) => output('bsdtar', [`--format=${format}`, '-cf', '-', '-C', tree, '.'])),
  }
}

function python(format: string): SampleTar {
  const script = `import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.${format}) as tar: tar.add(sys.argv[1], '.')`
  return {
    what: `Python, ${format}`,
    reason: notInstalled('python3'),
    write: () => inTree(format === 'USTAR_FORMAT', (tree) => output('python3', ['-c', script, tree])),
  }
}

function busybox(): SampleTar {
  return {
    what: 'busybox',
    reason: notInstalled('busybox'),
    write: () => inTree(true, (tree) => output('busybox', ['tar', '-cf', '-', '-C', tree, '.'])),
  }
}

async function tarStream(): Promise<Buffer> {
  const packed = pack()
  const mtime = new Date(1000 * 1_600_000_000)
  packed.entry({ name: 'dir', type: 'directory', mtime })
  packed.entry({ name: 'dir/file', mtime, uid: 3_000_000, pax: { 'SCHILY.xattr.user.a': 'b' } }, 'content')
  packed.entry({ name: 'ü'.repeat(120), mtime, linkname: 'ö'.repeat(120), type: 'symlink' })
  packed.entry({ name: 'hard', mtime, linkname: 'dir/file', type: 'link' })
  packed.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of packed) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** @param old whether the tree holds only what v7 and ustar can represent */
function inTree<T>(old: boolean, work: (tree: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'layerstack-tars-'))
  try {
    const tree = join(directory, 'tree')
    makeTree(tree)
    if (!old) makeOddities(tree)
    return work(tree)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function makeTree(tree: string): void {
  mkdirSync(join(tree, 'dir/empty'), { recursive: true })
  writeFileSync(join(tree, 'dir/file'), 'content\n')
  writeFileSync(join(tree, 'dir/nothing'), '')
  writeFileSync(join(tree, 'block'), Buffer.alloc(512, 'b'))
  shell(tree, 'ln dir/file hard; ln -s dir/file symlink; chmod 4755 block; chmod 1777 dir')
  shell(tree, 'find . -exec touch -h -d @1000000000 {} +')
}

function makeOddities(tree: string): void {
  const long = 'long-'.repeat(45)
  mkdirSync(join(tree, long))
  writeFileSync(join(tree, long, 'ü'.repeat(60)), 'deep')
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from('not \xff utf8', 'latin1')]), 'x')
  // This also sets access times, which GNU tar writes in PAX format.
  shell(
    tree,
    `ln -s ${long}/${long} far; mkfifo fifo; touch -d @-86400.25 old; touch -d @4102444800.123456789 young
    truncate -s 300K holes; for at in $(seq 1 30); do printf $at | dd of=holes bs=1 seek=$((at * 9000)) conv=notrunc; done
    truncate -s 50K hole; printf start | dd of=sparse; truncate -s 30000 sparse`,
  )
  if (isRoot) shell(tree, 'mknod char c 1 3; mknod block-device b 7 300; chown 3000000:4000000 dir/nothing')
  if (findProgram('setfattr') !== undefined) {
    shell(tree, 'setfattr -n user.binary -v 0x00ff0a3d dir/file; setfattr -n user.empty dir/file; true')
  }
  if (findProgram('setfacl') !== undefined) shell(tree, 'setfacl -m u:12:rwx dir/file; true')
  if (readdirSync(tree).length < 10) throw new Error('the tree is incomplete')
}

function shell(tree: string, script: string): void {
  execFileSync('sh', ['-ec', script], { cwd: tree, stdio: ['ignore', 'ignore', 'pipe'] })
}

function output(program: string, args: readonly string[]): Buffer {
  return execFileSync(findProgram(program) ?? program, args, {
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  })
}
