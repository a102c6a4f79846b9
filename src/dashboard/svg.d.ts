/** A picture that the bundle has as a data URL. */
declare module "*.svg" {
  const url: string;
  // biome-ignore lint/style/noDefaultExport: as esbuild gives it
  export default url;
}
