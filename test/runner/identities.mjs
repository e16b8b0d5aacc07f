import { spawnSync } from 'node:child_process'
import { accessSync, chmodSync, constants, cpSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { hasDeviceMapper } from '../support/device-mapper.mjs'

/**
 * Who runs tests, and where.
 * @typedef {object} Identity
 * @property {string} name
 * @property {string[]} command starts a program as this identity
 * @property {string} directory the project, or a copy of it
 * @property {Record<string, string>} environment
 * @property {boolean} [aside] runs beside the others, on a kernel of its own
 */

const ORDINARY_USER = '65534'
const WITHOUT_ADMIN = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
const AS_USER = [
  'setpriv',
  `--reuid=${ORDINARY_USER}`,
  `--regid=${ORDINARY_USER}`,
  '--clear-groups',
  '--inh-caps=-all',
  '--bounding-set=-all',
]

/** Names of the identities that this machine offers, in the order in which `--all` runs them. */
export function identityNames() {
  const isLinux = process.platform === 'linux'
  const canDrop = isLinux && process.getuid?.() === 0 && onPath('setpriv')
  const hasUml = isLinux && process.arch === 'x64' && !hasDeviceMapper && onPath('linux.uml')
  return [
    'caller',
    ...(canDrop ? ['root-without-admin', 'user', 'user-without-koffi'] : []),
    ...(hasUml ? ['uml'] : []),
  ]
}

/** Identities, each prepared when it is first used. */
export class Identities {
  #project
  #scratch
  /** @type {Identity | undefined} */
  #user

  /**
   * @param {string} project
   * @param {string} scratch a directory that the runner removes at its end
   */
  constructor(project, scratch) {
    this.#project = project
    this.#scratch = scratch
  }

  /**
   * @param {string} name one of `identityNames()`
   * @returns {Identity}
   */
  prepare(name) {
    const plain = { name, command: [], directory: this.#project, environment: {} }
    if (name === 'root-without-admin') return { ...plain, command: WITHOUT_ADMIN }
    if (name === 'uml') return { ...plain, command: this.#boot(), aside: true }
    if (name === 'caller') return plain
    const user = (this.#user ??= this.#ordinaryUser())
    const environment = name === 'user' ? {} : { LAYERSTACK_NO_KOFFI: '1' }
    return { ...user, name, environment: { ...user.environment, ...environment } }
  }

  /**
   * Checks the ordinary user's btrfs after all tests. No run without one.
   * @returns {import('./vitest.mjs').Run[]}
   */
  check() {
    if (this.#user?.environment.LAYERSTACK_TEST_BTRFS === undefined) return []
    const { image, path } = this.#btrfs
    spawnSync('umount', [path])
    const { status, stdout, stderr } = spawnSync('btrfs', ['check', image], { encoding: 'utf8' })
    const id = 'btrfs check finds nothing in the file system that tests ran on'
    const result = status === 0 ? /** @type {const} */ ('passed') : /** @type {const} */ ('failed')
    return [{ name: 'user', tests: [{ id, status: result, message: `${stderr}\n${stdout}` }] }]
  }

  /** Unmounts what is left, also after a failure. */
  close() {
    if (this.#user !== undefined) spawnSync('umount', ['-l', this.#btrfs.path])
  }

  get #btrfs() {
    return { image: join(this.#scratch, 'btrfs.img'), path: join(this.#scratch, 'btrfs') }
  }

  #boot() {
    return [process.execPath, join(this.#project, 'test/uml/boot.mjs'), '--shared', this.#scratch]
  }

  /** @returns {Identity} */
  #ordinaryUser() {
    const home = join(this.#scratch, 'home')
    mkdirSync(home)
    spawnSync('chown', [ORDINARY_USER, home])
    chmodSync(this.#scratch, 0o711)
    const environment = { HOME: home, TMPDIR: home, ...this.#btrfsOfTheUser() }
    return { name: 'user', command: AS_USER, directory: this.#readable(), environment }
  }

  /** A directory on btrfs that the ordinary user owns, if this machine can make one. */
  #btrfsOfTheUser() {
    const { image, path } = this.#btrfs
    mkdirSync(path)
    writeFileSync(image, '')
    truncateSync(image, 2 ** 30)
    const works = [
      ['mkfs.btrfs', '-q', image],
      ['mount', '-o', 'loop', image, path],
      ['chown', ORDINARY_USER, path],
    ].every(([program = '', ...rest]) => spawnSync(program, rest).status === 0)
    return works ? { LAYERSTACK_TEST_BTRFS: path } : {}
  }

  /** The project, or a copy of it if an ordinary user cannot read the project. */
  #readable() {
    const [program = '', ...rest] = [...AS_USER, 'test', '-r', join(this.#project, 'package.json')]
    if (spawnSync(program, rest).status === 0) return this.#project
    const copy = join(this.#scratch, 'project')
    mkdirSync(copy)
    for (const name of [
      'package.json',
      'vitest.config.ts',
      'tsconfig.json',
      'dist',
      'test',
      'node_modules',
      'src',
    ]) {
      cpSync(join(this.#project, name), join(copy, name), { recursive: true, verbatimSymlinks: true })
    }
    return copy
  }
}

/** @param {string} program */
function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
