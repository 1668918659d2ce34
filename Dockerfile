# docker build -t asyncsdk-server . && docker run --rm -p 8787:8787 -v asyncsdk:/data asyncsdk-server --api-key sk-mine
FROM python:3.13-slim
RUN --mount=type=bind,target=/src,rw pip install --no-cache-dir '/src[cli,server]'
RUN useradd --create-home server && install -d -o server /data
USER server
VOLUME /data
EXPOSE 8787
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8787/health')"]
ENTRYPOINT ["asyncsdk", "serve", "--host", "0.0.0.0", "--data", "/data"]
